package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"flint"
)

// Bounds of what one request may carry.
const (
	maxBody      = 12 << 20 // of everything but uploads
	maxFields    = 10_000   // pairs of a form or query
	maxFieldText = 1 << 20  // of the text parts beside a file, together
)

var errTooMany = flint.ErrInvalidArgument.Saying("The request has too many parameters.")

// Params are the parameters of a request as they came, before anyone knows what they should be.
type Params map[string]*param

// param is one of them: raw from a JSON body, else text or, for name[…], items.
type param struct {
	raw   json.RawMessage
	text  string
	items []flint.Header // keys of the brackets with their texts
	list  bool           // has items, even if none
}

// Default sets a parameter that is absent.
func (p Params) Default(name, text string) {
	if !p.has(name) {
		p[name] = &param{text: text}
	}
}

// Set gives a parameter a value, whatever it had.
func (p Params) Set(name, text string) { p[name] = &param{text: text} }

// DefaultJSON sets a parameter that is absent to a value that is no text.
func (p Params) DefaultJSON(name, value string) {
	if !p.has(name) {
		p[name] = &param{raw: json.RawMessage(value)}
	}
}

// Text returns a parameter that is a text, or nothing.
func (p Params) Text(name string) string {
	if !p.has(name) {
		return ""
	}
	text, _ := p[name].asText()
	return text
}

// Copy gives an absent parameter the value of another one that is present.
func (p Params) Copy(from, to string) {
	if p.has(from) && !p.has(to) {
		p[to] = p[from]
	}
}

func (p Params) has(name string) bool {
	v := p[name]
	return v != nil && !v.null()
}

func (v *param) null() bool { return v.raw != nil && string(v.raw) == "null" }

// add takes one pair of a form or query. name[], name[0] and name[key] make lists and objects.
func (p Params) add(name, text string) error {
	if len(p) >= maxFields {
		return errTooMany
	}
	name, key, bracket := strings.Cut(name, "[")
	if !bracket {
		p[name] = &param{text: text}
		return nil
	}
	key, _, _ = strings.Cut(key, "]")
	v := p[name]
	if v == nil || !v.list {
		v = &param{list: true}
		p[name] = v
	}
	if len(v.items) >= maxFields {
		return errTooMany
	}
	v.items = append(v.items, flint.Header{Name: key, Value: text})
	return nil
}

// parseForm reads a query or an urlencoded body. What is badly escaped is taken as it is: some clients do not escape.
func parseForm(s string) (Params, error) {
	p := Params{}
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		if pair == "" {
			continue
		}
		name, text, _ := strings.Cut(pair, "=")
		if err := p.add(unescape(name), unescape(text)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func unescape(s string) string {
	if clean, err := url.QueryUnescape(s); err == nil {
		return clean
	}
	return s
}

// parseJSON reads a body that is an object. An empty list stands for no parameters: PHP cannot tell the two apart.
func parseJSON(body []byte) (Params, error) {
	p := Params{}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "null" {
		return p, nil
	}
	if body[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(body, &list); err == nil && len(list) == 0 {
			return p, nil
		}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, flint.ErrInvalidArgument.Saying("The request body is not a JSON object.").Because(err)
	}
	for name, raw := range object {
		p[name] = &param{raw: raw}
	}
	return p, nil
}

// params reads the parameters of a request that carries no file: the query of a GET, else the body.
func (x *exchange) params() (Params, error) {
	r := x.r
	if x.route.Method == http.MethodGet {
		return parseForm(r.URL.RawQuery)
	}
	if r.Body == nil || r.Body == http.NoBody {
		return Params{}, nil
	}
	kind, args, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/form-data" {
		return readMultipart(multipart.NewReader(r.Body, args["boundary"]), maxBody, "", nil)
	}
	body, err := readAll(r.Body, r.ContentLength)
	if err != nil {
		return nil, tooLarge(err)
	}
	if kind == "application/json" {
		return parseJSON(body)
	}
	return parseForm(string(body))
}

// stream reads a form whose part called file goes to receive while it arrives.
func (x *exchange) stream(file string, receive func(*File) error) (Params, error) {
	kind, args, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxBody)
		return x.params()
	}
	return readMultipart(multipart.NewReader(x.r.Body, args["boundary"]), maxFieldText, file, receive)
}

// readMultipart reads the parts of a form: texts of at most limit bytes together, and files called file.
func readMultipart(m *multipart.Reader, limit int64, file string, receive func(*File) error) (Params, error) {
	p := Params{}
	for range maxFields {
		part, err := m.NextRawPart()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return nil, tooLarge(err)
		}
		name := part.FormName()
		switch {
		case name == "":
			continue
		case receive != nil && name == file && part.FileName() != "":
			if err := receive(&File{Reader: part, Name: part.FileName()}); err != nil {
				return nil, err
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, limit+1))
		if err != nil {
			return nil, tooLarge(err)
		}
		if limit -= int64(len(text)); limit < 0 {
			return nil, flint.ErrBodyTooLarge
		}
		if err := p.add(name, string(text)); err != nil {
			return nil, err
		}
	}
	return nil, errTooMany
}

// readAll reads a body into a buffer that is right from the start when the client said how long it is.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length <= 0 || length > maxBody {
		return io.ReadAll(r)
	}
	body := bytes.NewBuffer(make([]byte, 0, length+bytes.MinRead))
	_, err := body.ReadFrom(r)
	return body.Bytes(), err
}

// tooLarge tells a body that went over its limit from one that broke off.
func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return flint.ErrBodyTooLarge.Because(err)
	}
	if known, ok := errors.AsType[*flint.Error](err); ok {
		return known
	}
	return flint.ErrInvalidArgument.Saying("The request body could not be read.").Because(err)
}

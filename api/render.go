package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"flint"
	"flint/wire"
)

const (
	jsonType    = "application/json; charset=UTF-8"
	compressMin = 1 << 10 // bytes of the smallest answer that is worth compressing
	keepBuffer  = 1 << 20 // bytes of the largest buffer that is kept for reuse
)

// Status returns the status of an answer of the API with that error.
func Status(err error) int {
	status := wire.Status(err)
	if status == http.StatusRequestEntityTooLarge {
		return http.StatusBadRequest // 413 is not among the statuses that the reference lets through
	}
	return status
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // a pool is shared by nature

var compressors = sync.Pool{New: func() any { //nolint:gochecknoglobals // a pool is shared by nature
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return w
}}

func (x *exchange) render(out any) error {
	status := x.route.Handler.status
	if s, ok := out.(Statuser); ok {
		status = s.StatusCode()
	}
	if _, ok := out.(NoContent); ok {
		x.status = http.StatusNoContent
		x.w.Header().Set("Content-Type", "text/plain; charset=UTF-8") // the Python client fails without any
		x.w.WriteHeader(x.status)
		return nil
	}
	if f, ok := out.(Former); ok {
		if fields := f.Form(); fields != nil {
			return x.writeForm(status, fields)
		}
	}
	if _, ok := out.(*Events); ok {
		return nil // they were sent
	}
	if d, ok := out.(*Download); ok {
		return x.send(d)
	}
	if raw, ok := out.(json.RawMessage); ok {
		return x.write(status, jsonType, raw)
	}
	b, _ := buffers.Get().(*bytes.Buffer)
	b.Reset()
	defer release(b)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	older, err := wire.Older(out, x.format)
	if err != nil {
		return err
	}
	if err := e.Encode(older); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return x.write(status, jsonType, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func release(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		buffers.Put(b)
	}
}

// write sends a whole answer. An error means that nothing was sent; one of the connection is the client's business.
func (x *exchange) write(status int, contentType string, body []byte) error {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	if len(body) > compressMin {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(x.r.Header.Get("Accept-Encoding")) {
			b, _ := buffers.Get().(*bytes.Buffer)
			b.Reset()
			defer release(b)
			z, _ := compressors.Get().(*gzip.Writer)
			defer compressors.Put(z)
			z.Reset(b)
			if _, err := z.Write(body); err != nil {
				return fmt.Errorf("compress answer: %w", err)
			}
			if err := z.Close(); err != nil {
				return fmt.Errorf("compress answer: %w", err)
			}
			h.Set("Content-Encoding", "gzip")
			body = b.Bytes()
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.status = status
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		x.bytes, x.err = x.w.Write(body)
	}
	return nil
}

func acceptsGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(quality, " ", "")
			return !strings.HasPrefix(q, "q=0") || strings.Trim(q[len("q=0"):], ".0") != ""
		}
	}
	return false
}

// writeError tells the client what went wrong, if it is the client's to know.
func (x *exchange) writeError(err error) {
	known := flint.Known(err)
	message := known.Message
	if known.Kind == flint.Internal && !errors.Is(known, flint.ErrProtocol) {
		message = flint.ErrUnknown.Message
	}
	var trace []string
	if x.api.config.Development {
		if known.Kind == flint.Internal {
			message = err.Error()
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			trace = append(trace, cause.Error())
		}
	}
	h := x.w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Expires", "0")
	h.Set("Pragma", "no-cache")
	if known.Kind == flint.Unavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	if known.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(known.Retry.Seconds())))
	} else if known.Kind == flint.RateLimited && (h.Get("X-RateLimit-Reset") == "" || known.Is(flint.ErrFunctionBusy)) { // nothing was counted: others were in the way
		h.Set("Retry-After", "5")
	}
	status := Status(known)
	if !inAPI(x.r.URL.Path) {
		page := "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + strconv.Itoa(status) + "</title></head>" +
			"<body><h1>" + strconv.Itoa(status) + "</h1><p>" + html.EscapeString(message) + "</p><p><code>" + html.EscapeString(known.Type) + "</code></p></body></html>\n"
		_ = x.write(status, "text/html; charset=UTF-8", []byte(page)) // a page this small is not compressed: nothing can fail
		return
	}
	b, _ := json.Marshal(wire.Error{Message: message, Code: status, Type: known.Type, Version: flint.ReferenceVersion, Trace: trace}) // texts always marshal
	cause := x.err
	_ = x.write(status, jsonType, b)
	x.err = cause
}

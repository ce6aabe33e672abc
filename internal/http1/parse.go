package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// headEnd returns where the head that b begins with ends, or 0. The first searched bytes are known to hold no end.
func headEnd(b []byte, searched int) int {
	from := max(searched-3, 0)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return 0
}

// maxBody keeps lengths far from where sums of them overflow.
const maxBody = 1 << 40

// parse reads a head. ok is false for all that is not of the plain form, be it wrong or only rare.
func parse(head []byte) (r *http.Request, length int64, ok bool) {
	text := string(head[:len(head)-2])
	line, text, _ := strings.Cut(text, "\r\n")
	both := &struct { // one allocation for what is always made and lives as long
		r http.Request
		u url.URL
	}{r: http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}}
	r = &both.r
	if !parseLine(r, &both.u, line) {
		return nil, 0, false
	}
	n := strings.Count(text, "\n")
	values := make([]string, n)
	r.Header = make(http.Header, n)
	hosts, lengths := 0, 0
	for len(text) > 0 {
		line, text, ok = strings.Cut(text, "\r\n")
		if !ok {
			return nil, 0, false
		}
		name, value, ok := field(line)
		if !ok {
			return nil, 0, false
		}
		switch name {
		case "Host":
			hosts++
			r.Host = value
			continue // net/http has it there alone
		case "Content-Length":
			lengths++
			if length, ok = number(value); !ok {
				return nil, 0, false
			}
		case "Connection":
			switch {
			case strings.EqualFold(value, "close"):
				r.Close = true
			case !strings.EqualFold(value, "keep-alive"):
				return nil, 0, false
			}
		case "Transfer-Encoding", "Upgrade", "Expect", "Te", "Trailer", "Http2-Settings", "Proxy-Connection":
			return nil, 0, false
		}
		if given := r.Header[name]; given != nil {
			r.Header[name] = append(given, value)
			continue
		}
		values[0] = value
		r.Header[name], values = values[:1:1], values[1:]
	}
	if hosts != 1 || lengths > 1 || !validHost(r.Host) {
		return nil, 0, false
	}
	return r, length, true
}

// parseLine reads the request line. u has room for what r.URL will be.
func parseLine(r *http.Request, u *url.URL, line string) bool {
	method, rest, ok := strings.Cut(line, " ")
	if !ok {
		return false
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return false
	}
	target, version, ok := strings.Cut(rest, " ")
	if !ok || version != "HTTP/1.1" || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return false
	}
	r.Method, r.RequestURI = method, target
	if plain(target) {
		path, query, asked := strings.Cut(target, "?")
		*u = url.URL{Path: path, RawQuery: query, ForceQuery: asked && query == ""}
		r.URL = u
		return true
	}
	var err error
	r.URL, err = url.ParseRequestURI(target)
	return err == nil
}

// plain reports whether a target means what it says: nothing in it is escaped, or would have to be.
func plain(target string) bool {
	for i := range len(target) {
		switch c := target[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/', c == '-', c == '_', c == '.', c == '~', c == '?', c == '=', c == '&':
		default:
			return false
		}
	}
	return true
}

// field reads a header. Names come out in their canonical form.
func field(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	if !ok || !httpguts.ValidHeaderFieldName(name) {
		return "", "", false
	}
	value = strings.Trim(value, " \t")
	if !httpguts.ValidHeaderFieldValue(value) {
		return "", "", false
	}
	return textproto.CanonicalMIMEHeaderKey(name), value, true
}

// number reads a length: digits alone, so that nobody else can read another one.
func number(s string) (n int64, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > maxBody {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s != ""
}

func validHost(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return host != ""
}

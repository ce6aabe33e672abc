package worker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"flint"
	"flint/internal/frame"
	"flint/internal/quote"
)

// appendHead appends the head of a request frame.
func (r *Request) appendHead(b []byte) []byte {
	b = append(b, `{"method":`...)
	b = appendString(b, r.Method)
	b = append(b, `,"scheme":`...)
	b = appendString(b, r.Scheme)
	b = append(b, `,"host":`...)
	b = appendString(b, r.Host)
	b = append(b, `,"port":`...)
	b = strconv.AppendInt(b, int64(r.Port), 10)
	b = append(b, `,"path":`...)
	b = appendString(b, r.Path)
	b = append(b, `,"queryString":`...)
	b = appendString(b, r.QueryString)
	b = append(b, `,"url":`...)
	b = appendString(b, r.URL)
	b = append(b, `,"headers":{`...)
	for i, h := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, h.Name)
		b = append(b, ':')
		b = appendString(b, h.Value)
	}
	if r.Logging {
		return append(b, `},"logging":true}`...)
	}
	return append(b, `},"logging":false}`...)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 are taken as Latin-1, which is what HTTP headers
// may hold.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		n := quote.Plain(s)
		b = append(b, s[:n]...)
		if s = s[n:]; s == "" {
			return append(b, '"')
		}
		size := 1
		switch c := s[0]; {
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRuneInString(s); r == utf8.RuneError && size == 1 {
				r = rune(c)
			}
			b = utf8.AppendRune(b, r)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[size:]
	}
}

// parseHead reads the head of a response frame. The common form is read in place; everything else goes the long way.
func parseHead(head []byte) (int, []flint.Header, error) {
	if status, headers, ok := parsePlainHead(string(head)); ok {
		return status, headers, nil
	}
	var h struct {
		Status  int                        `json:"status"`
		Headers map[string]json.RawMessage `json:"headers"`
	}
	if err := json.Unmarshal(head, &h); err != nil {
		return 0, nil, fmt.Errorf("%w: response head: %w", frame.ErrMalformed, err)
	}
	headers := make([]flint.Header, 0, len(h.Headers))
	for name, raw := range h.Headers {
		var one string
		var many []string
		if err := json.Unmarshal(raw, &one); err == nil {
			many = []string{one}
		} else if err := json.Unmarshal(raw, &many); err != nil {
			return 0, nil, fmt.Errorf("%w: response header %q is neither a string nor a list of strings", frame.ErrMalformed, name)
		}
		for _, value := range many {
			headers = append(headers, flint.Header{Name: name, Value: value})
		}
	}
	return h.Status, headers, nil
}

// parsePlainHead reads {"status":200,"headers":{"name":"value",…}} without escapes, lists and spaces. The strings it
// returns are parts of s.
func parsePlainHead(s string) (int, []flint.Header, bool) {
	const before, between = `{"status":`, `,"headers":{`
	if len(s) < len(before) || s[:len(before)] != before {
		return 0, nil, false
	}
	s = s[len(before):]
	status, i := 0, 0
	for i < len(s) && i < 4 && '0' <= s[i] && s[i] <= '9' {
		status = status*10 + int(s[i]-'0')
		i++
	}
	if i == 0 || len(s) < i+len(between) || s[i:i+len(between)] != between {
		return 0, nil, false
	}
	s = s[i+len(between):]
	var headers []flint.Header
	if s == "}}" {
		return status, nil, true
	}
	for {
		name, rest, ok := plainString(s)
		if !ok || rest == "" || rest[0] != ':' {
			return 0, nil, false
		}
		value, rest, ok := plainString(rest[1:])
		if !ok || rest == "" {
			return 0, nil, false
		}
		headers = append(headers, flint.Header{Name: name, Value: value})
		if rest == "}}" {
			return status, headers, true
		}
		if rest[0] != ',' {
			return 0, nil, false
		}
		s = rest[1:]
	}
}

// plainString cuts a JSON string without escapes from the start of s.
func plainString(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c == '\\' || c < 0x20 || c >= utf8.RuneSelf:
			return "", "", false
		}
	}
	return "", "", false
}

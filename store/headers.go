package store

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"flint"
	"flint/internal/quote"
)

// executionHeaders is the form in which the headers of an execution are kept.
type executionHeaders struct {
	Request  []flint.Header `json:"q"`
	Response []flint.Header `json:"s"`
}

// encodeHeaders writes executionHeaders. It is on the way of every call, and the general encoder costs more than the rest
// of the row.
func encodeHeaders(request, response []flint.Header) string {
	n := 16
	for _, h := range request {
		n += len(h.Name) + len(h.Value) + 24
	}
	for _, h := range response {
		n += len(h.Name) + len(h.Value) + 24
	}
	var b strings.Builder
	b.Grow(n)
	b.WriteString(`{"q":[`)
	writeHeaders(&b, request)
	b.WriteString(`],"s":[`)
	writeHeaders(&b, response)
	b.WriteString(`]}`)
	return b.String()
}

func writeHeaders(b *strings.Builder, headers []flint.Header) {
	for i, h := range headers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"name":`)
		writeJSON(b, h.Name)
		b.WriteString(`,"value":`)
		writeJSON(b, h.Value)
		b.WriteByte('}')
	}
}

// writeJSON writes a JSON string. Header values are bytes; what is not UTF-8 becomes the replacement character.
func writeJSON(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('"')
	for {
		n := quote.Plain(s)
		b.WriteString(s[:n])
		if s = s[n:]; s == "" {
			break
		}
		n = 1
		switch c := s[0]; {
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s)
			b.WriteRune(r)
		case c < ' ':
			b.WriteString(`\u00`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
		s = s[n:]
	}
	b.WriteByte('"')
}

// decodeHeaders reads what encodeHeaders writes. What has other characters in it than nearly all headers have is left to
// the general decoder, which takes most of the time of a list.
func decodeHeaders(text string) (request, response []flint.Header, err error) {
	if rest, ok := strings.CutPrefix(text, `{"q":[`); ok && strings.IndexByte(text, '\\') < 0 {
		if request, rest, ok = plainHeaders(rest); ok {
			if rest, ok = strings.CutPrefix(rest, `,"s":[`); ok {
				if response, rest, ok = plainHeaders(rest); ok && rest == "}" {
					return request, response, nil
				}
			}
		}
	}
	var h executionHeaders
	err = json.Unmarshal([]byte(text), &h)
	return h.Request, h.Response, err
}

// plainHeaders reads a list of headers without escapes, up to its end.
func plainHeaders(s string) (headers []flint.Header, rest string, ok bool) {
	headers = []flint.Header{}
	for {
		if rest, ok = strings.CutPrefix(s, "]"); ok {
			return headers, rest, true
		}
		if len(headers) > 0 {
			s = strings.TrimPrefix(s, ",")
		}
		var h flint.Header
		if h.Name, s, ok = quoted(s, `{"name":"`); ok {
			h.Value, s, _ = quoted(s, `,"value":"`)
		}
		if s, ok = strings.CutPrefix(s, "}"); !ok {
			return nil, "", false
		}
		headers = append(headers, h)
	}
}

// quoted reads a text that is closed by the next quotation mark, after what stands before it.
func quoted(s, before string) (text, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, before); !ok {
		return "", "", false
	}
	return strings.Cut(rest, `"`)
}

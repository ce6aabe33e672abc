package serve

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

type requestHead struct {
	method, scheme, host, path, queryString, url string
	port                                         int
	headers                                      map[string]string
	logging                                      bool
}

// parseRequestHead reads the head of a request. It is written by hand because it is on the path of every call: the
// strings of the result are parts of text, where package encoding/json makes each anew.
func parseRequestHead(text string) (requestHead, error) {
	head := requestHead{logging: true}
	p := parser{text: text}
	p.object(func(key string) {
		switch key {
		case "method":
			head.method = p.string()
		case "scheme":
			head.scheme = p.string()
		case "host":
			head.host = p.string()
		case "path":
			head.path = p.string()
		case "queryString":
			head.queryString = p.string()
		case "url":
			head.url = p.string()
		case "port":
			head.port = p.int()
		case "headers":
			pairs := make([]string, 0, 48) // on the stack
			p.object(func(name string) { pairs = append(pairs, name, p.string()) })
			head.headers = make(map[string]string, len(pairs)/2)
			for i := 0; i < len(pairs); i += 2 {
				head.headers[pairs[i]] = pairs[i+1]
			}
		case "logging":
			head.logging = p.word() == "true"
		default:
			p.skip()
		}
	})
	if p.space(); p.at < len(p.text) {
		p.fail()
	}
	if head.headers == nil {
		head.headers = map[string]string{}
	}
	return head, p.err
}

// parser walks over JSON. After an error it stands at the end of the text and returns zero values.
type parser struct {
	text string
	at   int
	err  error
}

func (p *parser) fail() {
	if p.err == nil {
		p.err = fmt.Errorf("%w: head of a request is malformed at byte %d", errProtocol, p.at)
	}
	p.at = len(p.text)
}

func (p *parser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\n' || p.text[p.at] == '\r' || p.text[p.at] == '\t') {
		p.at++
	}
}

// next is the next byte that is no space, or 0 at the end.
func (p *parser) next() byte {
	if p.space(); p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) expect(c byte) {
	if p.next() != c {
		p.fail()
		return
	}
	p.at++
}

// object calls member with every key; member takes the value.
func (p *parser) object(member func(key string)) {
	p.expect('{')
	if p.next() == '}' {
		p.at++
		return
	}
	for p.err == nil {
		key := p.string()
		if p.expect(':'); p.err != nil {
			return
		}
		member(key)
		if p.next() != ',' {
			p.expect('}')
			return
		}
		p.at++
	}
}

func (p *parser) string() string {
	if p.next() != '"' {
		p.fail()
		return ""
	}
	start := p.at
	for i := start + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return p.text[start+1 : i]
		case c == '\\':
			return p.escaped(start, i)
		case c < ' ':
			p.fail()
			return ""
		}
	}
	p.fail()
	return ""
}

// escaped is the string that starts at start and has its first escape at i.
func (p *parser) escaped(start, i int) string {
	for ; i < len(p.text) && p.text[i] != '"'; i++ {
		if p.text[i] == '\\' {
			i++
		}
	}
	if i >= len(p.text) {
		p.fail()
		return ""
	}
	var value string
	if json.Unmarshal([]byte(p.text[start:i+1]), &value) != nil {
		p.fail()
		return ""
	}
	p.at = i + 1
	return value
}

// word is a value without quotes or brackets.
func (p *parser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) && !strings.ContainsRune(",:\"{}[] \n\r\t", rune(p.text[p.at])) {
		p.at++
	}
	if p.at == start {
		p.fail()
		return ""
	}
	return p.text[start:p.at]
}

func (p *parser) int() int {
	n, err := strconv.Atoi(p.word())
	if err != nil {
		p.fail()
	}
	return n
}

// skip passes over a value that this version does not know. It is lenient inside: only where the value ends matters.
func (p *parser) skip() {
	depth := 0
	for p.err == nil {
		switch p.next() {
		case '{', '[':
			depth++
			p.at++
		case '}', ']':
			depth--
			p.at++
		case ',', ':':
			if depth == 0 {
				p.fail()
				return
			}
			p.at++
			continue
		case '"':
			p.string()
		default:
			p.word()
		}
		if depth < 0 {
			p.fail()
		}
		if depth == 0 {
			return
		}
	}
}

// appendResponseHead appends the head of a response. A set-cookie value of several lines is several cookies.
func appendResponseHead(b []byte, status int, headers map[string]string) []byte {
	if status == 0 {
		status = 200
	}
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"headers":{`...)
	first := true
	for name, value := range headers {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, name)
		b = append(b, ':')
		if strings.IndexByte(value, '\n') < 0 || !strings.EqualFold(name, "set-cookie") {
			b = appendString(b, value)
			continue
		}
		b = append(b, '[')
		for i, cookie := range strings.Split(value, "\n") {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, strings.TrimSuffix(cookie, "\r"))
		}
		b = append(b, ']')
	}
	return append(b, "}}"...)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string has JSON
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

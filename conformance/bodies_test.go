package conformance

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"flint/e2e/node"
)

func bodyCase(name, action, contentType, body, want string) testCase {
	c := testCase{name: name, exchange: exchange{action: action, method: "POST", body: body}, body: is(want)}
	if contentType != "" {
		c.exchange.headers = map[string]string{"content-type": contentType}
	}
	return c
}

// badJSON is a body that is not JSON although the function wants it.
func badJSON(name, body string) testCase {
	return testCase{
		name: name, exchange: exchange{action: "requestBodyJson", method: "POST", body: body, headers: map[string]string{"content-type": "application/json"}},
		status: 500, body: is(""), check: func(t *testing.T, _ *subject, a *answer) {
			if !strings.Contains(strings.ToLower(a.errors), "json") {
				t.Errorf("errors %q, want the word JSON in them", a.errors)
			}
		},
	}
}

const object = `{"key1":"OK","key2":"👌"}`

var bodyCases = []testCase{
	bodyCase("a text body", "requestBodyText", "text/plain", "Hello\r\nWörld 👋\n", "Hello\r\nWörld 👋\n"),
	bodyCase("a text body of one zero", "requestBodyText", "text/plain", "0", "0"),
	bodyCase("an empty body", "requestBodyText", "", "", ""),
	bodyCase("an empty body has no bytes", "bodyLength", "", "", "0"),
	bodyCase("an empty object", "requestBodyJson", "application/json", "{}", "{}"),
	bodyCase("a JSON list", "requestBodyJson", "application/json", "[1,2]", "[1,2]"),
	bodyCase("JSON is JSON whatever its type", "requestBodyJson", "text/plain", `{"a":"b"}`, `{"a":"b"}`),
	badJSON("invalid JSON", `{"not json":`),
	badJSON("no JSON at all", ""),
	bodyCase("body of type JSON", "requestBodyAuto", "application/json", object, `{"key1":"OK"}`),
	{
		name: "body of type JSON with a charset", exchange: exchange{action: "requestBodyAuto", method: "POST", body: object, headers: map[string]string{"content-type": "application/json; charset=utf-8"}},
		want: func(l *language) string { return choose(l.exactJSON, "string:"+object, `{"key1":"OK"}`) },
	},
	bodyCase("body of type JSON in mixed case", "requestBodyAuto", "ApPlIcAtIoN/JSON", object, `{"key1":"OK"}`),
	bodyCase("body of type text", "requestBodyAuto", "text/plain", "Hello", "string:Hello"),
	bodyCase("body of a type that ends like JSON", "requestBodyAuto", "not-application/json", object, "string:"+object),
	bodyCase("body of a vendor's JSON", "requestBodyAuto", "application/vnd.api+json", object, "string:"+object),
	bodyCase("body of a form", "requestBodyAuto", "application/x-www-form-urlencoded", "a=b&c=d", "string:a=b&c=d"),
	bodyCase("body of type octet-stream", "requestBodyAuto", "application/octet-stream", "bytes", "string:bytes"),
	bodyCase("body of an image type", "requestBodyAuto", "image/png", "bytes", "string:bytes"),
	bodyCase("body without a type", "requestBodyAuto", "", "Hello", "string:Hello"),
	{
		name: "a binary body", only: "domain", body: is("\x00\x0a\xff\xfe\x80"),
		exchange: exchange{action: "requestBodyBinary", method: "POST", body: "\x00\x0a\xff\xfe\x80", headers: map[string]string{"content-type": "application/octet-stream"}},
	},
	{
		name: "a binary body with a charset in its type", only: "domain", body: is("\x00\x0a\xff"),
		exchange: exchange{action: "requestBodyBinary", method: "POST", body: "\x00\x0a\xff", headers: map[string]string{"content-type": "text/plain; charset=iso-8859-1"}},
	},
	large("17 MB are passed on", "POST", 17_000_000, 200),
	large("17 MB are passed on by PUT", "PUT", 17_000_000, 200),
	large("20 MiB are passed on", "POST", 20<<20, 200),
	largeOfUnknownLength("17 MB of unknown length are passed on", 17_000_000, 200),
	large("23 MB are too much", "POST", 23_000_000, 413),
	largeOfUnknownLength("23 MB of unknown length are too much", 23_000_000, 413),
}

func large(name, method string, size, status int) testCase {
	return testCase{name: name, only: "domain", exchange: exchange{action: "statusResponse"}, status: 404, check: func(t *testing.T, s *subject, _ *answer) {
		sendLarge(t, s, method, size, int64(size), status)
	}}
}

func largeOfUnknownLength(name string, size, status int) testCase {
	return testCase{name: name, only: "domain", exchange: exchange{action: "statusResponse"}, status: 404, check: func(t *testing.T, s *subject, _ *answer) {
		sendLarge(t, s, "POST", size, -1, status)
	}}
}

// sendLarge sends a body that is made while it is sent. Too large ones may be refused with 413, or fail with 500.
func sendLarge(t *testing.T, s *subject, method string, size int, length int64, want int) {
	t.Helper()
	r, err := s.node.Visit(t.Context(), node.Request{
		Host: s.function.Domain(), Method: method, Headers: map[string]string{"x-action": "bodyLength", "content-type": "application/octet-stream"},
		Body: io.LimitReader(zeros{}, int64(size)), Length: length,
	})
	if err != nil {
		t.Fatal(err)
	}
	if want != 200 {
		if r.Status != 413 && r.Status != 500 {
			t.Errorf("status %d, want 413 or 500", r.Status)
		}
		return
	}
	if r.Status != want || string(r.Body) != strconv.Itoa(size) {
		t.Errorf("%d %.300q, want %d %d", r.Status, r.Body, want, size)
	}
}

// zeros is a reader of zero bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const plain = "text/plain; charset=utf-8"

var cases = slices.Concat(responseCases, requestCases, bodyCases)

var responseCases = []testCase{
	// Responses.
	{name: "text", exchange: exchange{}, body: is("Hello World 👋"), headers: map[string]string{"content-type": plain}, logs: is(""), errors: is("")},
	{name: "json", exchange: exchange{action: "jsonResponse"}, body: is(`{"json":true,"message":"Developers are awesome."}`), headers: map[string]string{"content-type": "application/json; charset=utf-8"}},
	{name: "a charset of its own is kept", exchange: exchange{action: "customCharsetResponse"}, body: is("ÅÆ"), headers: map[string]string{"content-type": "text/plain; charset=iso-8859-1"}},
	{name: "a content type without charset gets one", exchange: exchange{action: "uppercaseCharsetResponse"}, body: is("ÅÆ"), headers: map[string]string{"content-type": plain}},
	{
		name: "multipart is left alone", exchange: exchange{action: "multipartResponse"}, headers: map[string]string{"content-type": "multipart/form-data; boundary=12345"},
		body: is("--12345\r\nContent-Disposition: form-data; name=\"partOne\"\r\n\r\nWhy just have one part?\r\n--12345--\r\n"),
	},
	{name: "redirect", exchange: exchange{action: "redirectResponse"}, status: 301, body: is(""), headers: map[string]string{"location": "https://github.com/"}},
	{name: "empty", exchange: exchange{action: "emptyResponse"}, status: 204, body: is("")},
	{
		name: "a missing return value", exchange: exchange{action: "noResponse"}, status: 500, body: is(""), skip: func(l *language) bool { return l.noMissing },
		check: func(t *testing.T, s *subject, a *answer) { exactLine(t, "errors", a.errors, s.says("return")) },
	},
	{name: "a missing return value of a typed language", exchange: exchange{action: "noResponse"}, skip: func(l *language) bool { return !l.noMissing }, body: is(""), errors: is("")},
	{name: "the returned response counts", exchange: exchange{action: "doubleResponse"}, body: is("This should be returned.")},
	{
		name: "headers", exchange: exchange{action: "headersResponse", headers: map[string]string{"x-open-runtimes-custom-in-header": "first-value"}}, body: is("OK"),
		headers: map[string]string{"first-header": "first-value", "second-header": "missing", "x-open-runtimes-custom-out-header": "", "x-open-runtimes-log-id": ""},
	},
	{name: "status", exchange: exchange{action: "statusResponse"}, status: 404, body: is("FAIL")},
	{name: "binary", only: "domain", exchange: exchange{action: "binaryResponse"}, body: is("\x00\x0a\xff")},
	{name: "send", exchange: exchange{action: "sendResponse"}, status: 201, body: is("sent")},
	{name: "cookies", only: "domain", exchange: exchange{action: "setCookie"}, body: is("OK"), check: func(t *testing.T, s *subject, a *answer) {
		want := []string{"cookie=value; path=/", "cookie2=value2; path=/"}
		if s.oneCookie {
			want = want[:1]
		}
		if diff := cmp.Diff(want, a.headers.Values("set-cookie")); diff != "" {
			t.Errorf("set-cookie (-want +got):\n%s", diff)
		}
	}},
	{name: "the last cookie", only: "execution", exchange: exchange{action: "setCookie"}, body: is("OK"), check: func(t *testing.T, s *subject, a *answer) {
		want := []string{choose(s.oneCookie, "cookie=value; path=/", "cookie2=value2; path=/")}
		if diff := cmp.Diff(want, a.headers.Values("set-cookie")); diff != "" {
			t.Errorf("set-cookie (-want +got):\n%s", diff)
		}
	}},
	{name: "a large response", only: "domain", exchange: exchange{action: "largeResponse", path: "/?bytes=5000000"}, check: func(t *testing.T, _ *subject, a *answer) {
		if len(a.body) != 5_000_000 || strings.Trim(a.body, "z") != "" {
			t.Errorf("%d bytes, want 5000000 of z", len(a.body))
		}
	}},
	{name: "an answer to HEAD has no body", only: "domain", exchange: exchange{action: "jsonResponse", method: "HEAD"}, body: is(""), headers: map[string]string{"content-type": "application/json; charset=utf-8"}},
	{name: "the id of the execution", exchange: exchange{}, check: func(t *testing.T, _ *subject, a *answer) {
		if got := a.headers.Get("x-appwrite-execution-id"); got != a.ID {
			t.Errorf("x-appwrite-execution-id is %q, want %q", got, a.ID)
		}
	}},

	// Environment.
	{name: "variables", exchange: exchange{action: "envVars"}, check: func(t *testing.T, _ *subject, a *answer) {
		if diff := cmp.Diff(map[string]any{"var": "customValue", "emptyVar": nil}, a.object(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}},

	// Logs.
	{name: "logs and errors", exchange: exchange{action: "logs"}, body: is(""), errors: is("Error log\n"), check: func(t *testing.T, s *subject, a *answer) {
		want := fmt.Sprintf("Debug log\n42\n4.2\n%s\n%s\n%s\nmulti args\n", s.says("true"), s.says("object"), s.says("list"))
		if a.logs != want {
			t.Errorf("logs %q, want %q", a.logs, want)
		}
	}},
	nativeLogs("native logs", func(l *language) bool { return l.onePrinter }),
	{name: "a long entry is cut", exchange: exchange{action: "longLog"}, body: is("OK"), logs: is(strings.Repeat("a", 8000) + "... Log truncated due to size limit (8000 characters)\n")},
	{name: "the newest million of logs", exchange: exchange{action: "millionLog"}, body: is("OK"), check: func(t *testing.T, _ *subject, a *answer) {
		const warning = "[WARNING] Logs truncated. The output exceeded 1000000 characters.\n"
		if len(a.logs) > 1_000_000 || len(a.logs) < 999_000 || !strings.HasPrefix(a.logs, warning) || !strings.HasSuffix(a.logs, "x\nthe last line\n") {
			t.Errorf("%d bytes of logs from %.100q to %q", len(a.logs), a.logs, a.logs[max(0, len(a.logs)-100):])
		}
	}},
	{name: "an exception", exchange: exchange{action: "exception"}, status: 500, body: is(""), logs: is(""), check: func(t *testing.T, s *subject, a *answer) {
		for _, part := range s.exception {
			if !strings.Contains(a.errors, part) {
				t.Errorf("errors %q, want %q in them", a.errors, part)
			}
		}
	}},
}

// nativeLogs is what becomes of text that a function prints past its logger.
func nativeLogs(name string, skip func(*language) bool) testCase {
	return testCase{name: name, exchange: exchange{action: "nativeLogs"}, skip: skip, body: is("OK"), errors: is(""), check: func(t *testing.T, s *subject, a *answer) {
		if !strings.HasPrefix(a.logs, s.says("notice")) || !strings.Contains(a.logs, "Native log") || strings.Count(a.logs, "detected") != 1 {
			t.Errorf("logs %q, want the notice once and the native text", a.logs)
		}
	}}
}

// exactLine compares a text whose final newline does not matter.
func exactLine(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSuffix(got, "\n") != want {
		t.Errorf("%s %q, want %q", what, got, want)
	}
}

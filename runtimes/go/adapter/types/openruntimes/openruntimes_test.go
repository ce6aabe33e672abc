package openruntimes

import (
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memory is a LogWriter.
type memory []string

func (m *memory) WriteLog(kind, text string) { *m = append(*m, kind+": "+text) }

func TestResponses(t *testing.T) {
	var res ContextResponse
	shared := map[string]string{"a": "b", "Content-Type": "text/html"}
	status, headers := res.WithStatusCode(404), res.WithHeaders(shared)
	jsonType := map[string]string{"content-type": "application/json"}
	none := map[string]string{}
	tests := []struct {
		name string
		got  Response
		want Response
	}{
		{"text", res.Text("a"), Response{[]byte("a"), 200, none}},
		{"text with options", res.Text("", status, headers), Response{[]byte{}, 404, shared}},
		{"send", res.Send("a", status), Response{[]byte("a"), 404, none}},
		{"binary", res.Binary([]byte{0, 255}), Response{[]byte{0, 255}, 200, none}},
		{"empty", res.Empty(), Response{[]byte{}, 204, none}},
		{"json", res.Json(map[string]any{"b": 1, "a": "<ü>"}), Response{[]byte(`{"a":"\u003cü\u003e","b":1}`), 200, jsonType}},
		{
			"json with options", res.Json(1, headers, status),
			Response{[]byte("1"), 404, map[string]string{"a": "b", "content-type": "application/json"}},
		},
		{"json of a function", res.Json(math.Inf(1), status), Response{[]byte("Error encoding JSON."), 500, none}},
		{"redirect", res.Redirect("/x"), Response{[]byte{}, 301, map[string]string{"location": "/x"}}},
		{
			"redirect with options", res.Redirect("/x", res.WithStatusCode(303), res.WithHeaders(nil)),
			Response{[]byte{}, 303, map[string]string{"location": "/x"}},
		},
		{"new", *Response{}.New(), Response{[]byte{}, 200, none}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
	if len(shared) != 2 {
		t.Errorf("the caller's headers changed: %v", shared)
	}
}

func TestBodies(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		want                    any
		jsonFails               bool
	}{
		{"object", "application/json", `{"a":1}`, map[string]any{"a": 1.0}, false},
		{"any case", "Application/JSON", `{"a":1}`, map[string]any{"a": 1.0}, false},
		{"list", "application/json", `[1]`, map[string]any{}, false},
		{"null", "application/json", `null`, map[string]any{}, false},
		{"nothing", "application/json", ``, map[string]any{}, true},
		{"broken", "application/json", `{"a":1`, map[string]any{}, true},
		{"charset", "application/json; charset=utf-8", `{"a":1}`, `{"a":1}`, false},
		{"text", "text/plain", `ü`, `ü`, true},
		{"no type", "", `{}`, `{}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := ContextRequest{Headers: map[string]string{"content-type": test.contentType}}
			r.SetBodyBinary([]byte(test.body))
			if diff := cmp.Diff(test.want, r.Body()); diff != "" {
				t.Errorf("Body() (-want +got):\n%s", diff)
			}
			if r.BodyText() != test.body || r.BodyRaw() != test.body || string(r.BodyBinary()) != test.body {
				t.Errorf("texts are %q, %q, %q", r.BodyText(), r.BodyRaw(), r.BodyBinary())
			}
			var v any
			if err := r.BodyJson(&v); (err != nil) != test.jsonFails {
				t.Errorf("BodyJson() = %v", err)
			} else if err != nil && err.Error() != "could not parse body into a JSON" {
				t.Errorf("BodyJson() = %v", err)
			}
		})
	}
}

func TestLogEntries(t *testing.T) {
	type point struct{ X, Y int }
	tests := []struct {
		name   string
		values []any
		want   string
	}{
		{"none", nil, ""},
		{"strings", []any{"a", "b c", ""}, "a b c "},
		{"numbers", []any{42, 4.2, true, nil}, "42 4.2 true <nil>"},
		{"map", []any{map[string]string{"a": "b"}}, `map[string]string{"a":"b"}`},
		{"struct", []any{point{1, 2}}, `openruntimes.point{X:1, Y:2}`},
		{"error", []any{errors.New("x")}, `&errors.errorString{s:"x"}`},
		{"lines", []any{"a\nb"}, "a\nb"},
		{"at the limit", []any{strings.Repeat("a", 8000)}, strings.Repeat("a", 8000)},
		{"over the limit", []any{strings.Repeat("a", 7999), "b"}, strings.Repeat("a", 7999) + " " + truncated},
		{"inside a rune", []any{strings.Repeat("a", 7999) + "é"}, strings.Repeat("a", 7999) + truncated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out memory
			c := ContextWithLogs(&out)
			c.Log(test.values...)
			c.Error(test.values...)
			if diff := cmp.Diff(memory{"log: " + test.want + "\n", "error: " + test.want + "\n"}, out); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a context without a logger drops them", func(*testing.T) {
		var c Context
		c.Log("nowhere")
	})
}

func TestLogger(t *testing.T) { // not parallel: it takes over the process's output
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if _, err := os.Stat(logDirectory); err == nil {
		t.Skip("this machine has " + logDirectory)
	}
	l, err := NewLogger("", "abc")
	if err != nil {
		t.Fatal(err)
	}
	c := NewContext(l)
	c.Log("one", 2)
	c.Error("three")
	before := log.Writer()
	if err := l.OverrideNativeLogs(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("out")
	fmt.Fprintln(os.Stderr, "err")
	log.New(log.Writer(), "", 0).Print("log")
	l.RevertNativeLogs()
	l.RevertNativeLogs()
	if log.Writer() != before {
		t.Error("package log was not given back")
	}
	l.End()
	l.End()
	l.Write([]any{"late"}, LOGGER_TYPE_LOG, false)
	for name, want := range map[string]string{
		"abc_logs.log":   "one 2\n" + nativeNotice + "out\n",
		"abc_errors.log": "three\nerr\nlog\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLoggerIDs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("OPEN_RUNTIMES_ENV", "")
	ids := map[string]bool{}
	for _, given := range []string{"", "", "../x", strings.Repeat("a", 65)} {
		l, err := NewLogger("enabled", given)
		if err != nil {
			t.Skip(err)
		}
		l.End()
		if len(l.Id) != 20 || !plain(l.Id) || ids[l.Id] {
			t.Errorf("id %q for %q", l.Id, given)
		}
		ids[l.Id] = true
	}
	if l, err := NewLogger("disabled", "x"); err != nil || l.Enabled || l.Id != "" {
		t.Errorf("NewLogger(disabled) = %+v, %v", l, err)
	}
	t.Setenv("OPEN_RUNTIMES_ENV", "development")
	l, err := NewLogger("enabled", "")
	if err != nil {
		t.Skip(err)
	}
	l.End()
	if l.Id != "dev" {
		t.Errorf("id %q in development", l.Id)
	}
}

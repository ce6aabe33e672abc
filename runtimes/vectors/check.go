package vectors

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
)

func (p *peer) checkControl(e *expectation, got []byte) {
	p.t.Helper()
	if e.Type == "pong" {
		if e.Body != nil && string(got) != string(*e.Body) {
			p.t.Errorf("pong %q, want %q", got, *e.Body)
		}
		return
	}
	var v struct {
		Protocol         *int
		Adapter, Version string
		Concurrency      int
	}
	if err := json.Unmarshal(got, &v); err != nil {
		p.t.Fatalf("%s %s: %v", e.Type, got, err)
	}
	if e.Type == "hello" && (v.Protocol == nil || *v.Protocol != 1 || v.Adapter != p.l.Key || v.Version == "") {
		p.t.Errorf("hello %s: want protocol 1, adapter %s and a version", got, p.l.Key)
	}
	if v.Concurrency < 0 {
		p.t.Errorf("ready %s", got)
	}
}

func (p *peer) checkResponse(e *expectation, x *exchange) {
	p.t.Helper()
	t := p.t
	if e.Status != nil && x.head.Status != *e.Status {
		t.Errorf("status %d, want %d; errors: %s", x.head.Status, *e.Status, x.texts[1])
	}
	got := map[string]any{}
	for name, value := range x.head.Headers {
		got[strings.ToLower(name)] = value
	}
	for name, want := range e.Headers {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", name, diff)
		}
	}
	if e.Body != nil && !bytes.Equal(*e.Body, x.body) {
		t.Errorf("body of %d bytes %.200q, want %d bytes %.200q", len(x.body), x.body, len(*e.Body), *e.Body)
	}
	if e.JSON != nil {
		var v any
		if err := json.Unmarshal(x.body, &v); err != nil {
			t.Errorf("body %.200q: %v", x.body, err)
		} else if diff := cmp.Diff(e.JSON, v); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	}
	p.checkText("body", &textual{Contains: e.Contains, Matches: e.Matches}, x.body)
	p.checkText("logs", e.Logs, x.texts[0])
	p.checkText("errors", e.Errors, x.texts[1])
}

func (p *peer) checkText(what string, want *textual, got []byte) {
	p.t.Helper()
	if want == nil {
		return
	}
	if want.Equals != nil && p.fill(string(*want.Equals)) != string(got) {
		p.t.Errorf("%s %.300q, want %.300q", what, got, *want.Equals)
	}
	if !inOrder(string(got), want.Contains) {
		p.t.Errorf("%s %.300q, want %q in them", what, got, want.Contains)
	}
	if want.Matches != "" && !regexp.MustCompile(want.Matches).Match(got) {
		p.t.Errorf("%s %.300q, want a match of %s", what, got, want.Matches)
	}
	if want.Length != 0 && len(got) != want.Length {
		p.t.Errorf("%s of %d bytes, want %d", what, len(got), want.Length)
	}
}

func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

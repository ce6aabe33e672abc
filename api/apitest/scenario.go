package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// Actor is who sends a request: its credentials.
type Actor map[string]string

// The actors of a Bed.
var (
	Nobody  = Actor{}                                                                         // read only
	Guest   = Actor{"X-Appwrite-Project": string(Project)}                                    // read only
	Key     = Actor{"X-Appwrite-Project": string(Project), "X-Appwrite-Key": "standard_full"} // read only
	NoScope = Actor{"X-Appwrite-Project": string(Project), "X-Appwrite-Key": "standard_none"}
)

// With returns the actor with one more header.
func (a Actor) With(name, value string) Actor {
	more := maps.Clone(a)
	more[name] = value
	return more
}

// File is a part of a form that is a file.
type File struct{ Name, Content string }

// Scenario is one request and what must come of it.
type Scenario struct {
	Name   string
	As     Actor
	Method string
	Path   string
	Body   any    // a string as it is; a Form as multipart; anything else as JSON
	Kind   string // Content-Type of a string; empty: JSON

	Status  int
	Type    string // of the error
	Message string // the error's, whole
	Want    string // JSON; objects may have more fields than it says, "*" is any value
	Check   func(*testing.T, *http.Response, []byte)
}

// Form is a multipart form in its order.
type Form []Field

// Field is a text, or a File, of a form.
type Field struct {
	Name  string
	Value any
}

// Run plays scenarios in their order.
func Run(t *testing.T, h http.Handler, scenarios []Scenario) {
	t.Helper()
	for _, s := range scenarios {
		name := s.Name
		if name == "" {
			name = s.Method + " " + s.Path
		}
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // they build on each other
			s.play(t, h)
		})
	}
}

func (s *Scenario) play(t *testing.T, h http.Handler) {
	t.Helper()
	w := Send(t, h, s.As, s.Method, s.Path, s.Kind, s.Body)
	res, body := w.Result(), w.Body.Bytes()
	defer func() { _ = res.Body.Close() }() // a recorder's
	if res.StatusCode != s.Status {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, s.Status, body)
	}
	if s.Type != "" || s.Message != "" {
		var e struct {
			Message, Type, Version string
			Code                   int
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if s.Type != "" && e.Type != s.Type {
			t.Errorf("type %q, want %q: %s", e.Type, s.Type, e.Message)
		}
		if s.Message != "" && e.Message != s.Message {
			t.Errorf("message %q, want %q", e.Message, s.Message)
		}
		if e.Code != s.Status {
			t.Errorf("code %d, want %d", e.Code, s.Status)
		}
	}
	if s.Status == http.StatusNoContent && len(body) > 0 {
		t.Errorf("204 with a body: %s", body)
	}
	if s.Want != "" {
		var want, got any
		if err := json.Unmarshal([]byte(s.Want), &want); err != nil {
			t.Fatalf("%v: %s", err, s.Want)
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, d := range differences("", want, got) {
			t.Error(d)
		}
	}
	if s.Check != nil {
		s.Check(t, res, body)
	}
}

// Send sends one request.
func Send(t testing.TB, h http.Handler, as Actor, method, path, kind string, body any) *httptest.ResponseRecorder {
	t.Helper()
	var b bytes.Buffer
	switch v := body.(type) {
	case nil:
	case string:
		b.WriteString(v)
		if kind == "" {
			kind = "application/json"
		}
	case Form:
		kind = v.write(t, &b)
	default:
		kind = "application/json"
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, &b)
	if body == nil {
		r.Body = http.NoBody
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for name, value := range as {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func (f Form) write(t testing.TB, b *bytes.Buffer) string {
	t.Helper()
	m := multipart.NewWriter(b)
	for _, field := range f {
		var err error
		if file, ok := field.Value.(File); ok {
			part, e := m.CreateFormFile(field.Name, file.Name)
			if e != nil {
				t.Fatal(e)
			}
			_, err = part.Write([]byte(file.Content))
		} else {
			err = m.WriteField(field.Name, fmt.Sprint(field.Value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return m.FormDataContentType()
}

// differences says where got lacks what want has.
func differences(at string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want an object", at, got)}
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(w)) {
			v, ok := g[name]
			if !ok {
				all = append(all, strings.TrimPrefix(at+"."+name, ".")+" is missing")
				continue
			}
			all = append(all, differences(at+"."+name, w[name], v)...)
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s is %v, want %d items", at, got, len(w))}
		}
		var all []string
		for i := range w {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), w[i], g[i])...)
		}
		return all
	}
	if want != "*" && want != got {
		return []string{fmt.Sprintf("%s is %v, want %v", strings.TrimPrefix(at, "."), got, want)}
	}
	return nil
}

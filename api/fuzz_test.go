package api

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"
	"time"

	"flint"
)

type fuzzIn struct {
	Text   string   `param:"text" rule:"text 1 8"`
	Number int      `param:"number" rule:"range 1 9"`
	Loose  bool     `param:"loose" rule:"loose"`
	List   []string `param:"list" rule:"id" max:"3"`
	Object Object   `param:"object"`
}

// checkBound binds whatever came and checks that what got through is what the rules say.
func checkBound(t *testing.T, p Params) {
	t.Helper()
	r := &Route{Method: "POST", Path: "/v1/x"}
	r.Handler = Handler{in: reflect.TypeFor[fuzzIn]()}
	var in fuzzIn
	v := reflect.ValueOf(&in).Elem()
	for _, f := range compile(r) {
		if !p.has(f.Name) || f.set(v, p[f.Name]) != nil {
			continue
		}
		switch f.Name {
		case "text":
			if n := len([]rune(in.Text)); n < 1 || n > 8 {
				t.Errorf("text %q", in.Text)
			}
		case "number":
			if in.Number < 1 || in.Number > 9 {
				t.Errorf("number %d", in.Number)
			}
		case "list":
			if len(in.List) > 3 {
				t.Errorf("list %q", in.List)
			}
			for _, s := range in.List {
				if !flint.ValidID(s) {
					t.Errorf("list %q", in.List)
				}
			}
		}
	}
}

func FuzzForm(f *testing.F) {
	for _, seed := range []string{"text=a&number=3&loose=1", "list[]=a&list[]=b", "list%5B0%5D=x", "object[a]=b&object=c&object[d", "=&&[]=x&%zz=%", "a[b][c]=d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseForm(s)
		if err == nil {
			checkBound(t, p)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"text":"a","number":3,"loose":true}`, "[]", "null", `{"list":["a",null],"object":{"a":1,"b":[]}}`, `{"object":"{\"a\":1}"}`, `{"text":1e400}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parseJSON(body)
		if err == nil {
			checkBound(t, p)
		}
	})
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"code\"; filename=\"c.gz\"\r\n\r\nzip\r\n--b--\r\n"))
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"list[]\"\r\n\r\nx\r\n--b--"))
	f.Add([]byte("--b\r\n\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got int64
		p, err := readMultipart(multipart.NewReader(bytes.NewReader(body), "b"), 1<<10, "code", func(file *File) error {
			n, err := io.Copy(io.Discard, file)
			got += n
			return err
		})
		if got > int64(len(body)) {
			t.Errorf("%d bytes of files from %d", got, len(body))
		}
		if err == nil {
			checkBound(t, p)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-9", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes= 7-", int64(1<<40))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		start, end, err := parseRange(header, size)
		if err != nil {
			return
		}
		if start < 0 || start >= end || end > size {
			t.Errorf("parseRange(%q, %d) = %d, %d", header, size, start, end)
		}
	})
}

func TestBoundsOfForms(t *testing.T) {
	t.Parallel()
	if _, err := parseForm(strings.Repeat("a[]=&", maxFields+1)); err == nil {
		t.Error("a list without end is accepted")
	}
	var many strings.Builder
	for i := range maxFields + 1 {
		fmt.Fprintf(&many, "a%d=&", i)
	}
	if _, err := parseForm(many.String()); err == nil {
		t.Error("parameters without end are accepted")
	}
	part := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + strings.Repeat("x", 600) + "\r\n"
	if _, err := readMultipart(multipart.NewReader(strings.NewReader(part+part+"--b--\r\n"), "b"), 1000, "", nil); err == nil {
		t.Error("texts without end are accepted")
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	if newLimiter(Limit{}) != nil {
		t.Error("no limit is a limit")
	}
	l := newLimiter(Limit{Max: 2, Per: time.Hour})
	now := time.Unix(7200, 0)
	for i, want := range []struct {
		key  string
		at   time.Time
		left int
		ok   bool
	}{
		{"a", now, 1, true},
		{"a", now.Add(time.Minute), 0, true},
		{"a", now.Add(2 * time.Minute), 0, false},
		{"b", now.Add(2 * time.Minute), 1, true},
		{"a", now.Add(time.Hour), 1, true},
	} {
		left, reset, ok := l.take(want.key, want.at, false)
		if left != want.left || ok != want.ok {
			t.Errorf("call %d: %d, %v, want %d, %v", i, left, ok, want.left, want.ok)
		}
		if next := want.at.Truncate(time.Hour).Add(time.Hour); !reset.Equal(next) {
			t.Errorf("call %d: reset at %v, want %v", i, reset, next)
		}
	}
}

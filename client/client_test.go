package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func answering(status int, body string) *Client {
	return Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
		typ    string
	}{
		{"refused", 400, `{"type":"project_not_found","message":"There is no project x."}`, "There is no project x.", "project_not_found"},
		{"failed", 500, `{"type":"general_unknown","message":"disk full"}`, "disk full", "general_unknown"},
		{"without a message", 404, `{"type":"x"}`, "the node answered with status 404", ""},
		{"no JSON", 502, "Bad Gateway", "the node answered with status 502", ""},
		{"nothing", 503, "", "the node answered with status 503", ""},
		{"an answer that is cut off", 200, `[{"id":"a"`, "unexpected EOF", ""},
	} {
		_, err := answering(c.status, c.body).Projects(t.Context())
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		var refused *Error
		if got := errors.As(err, &refused); got != (c.typ != "") || got && refused.Type != c.typ {
			t.Errorf("%s: %#v, want type %q", c.name, err, c.typ)
		}
	}
}

func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	var got string
	c := Local(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.RequestURI()
		_, _ = io.WriteString(w, "{}")
	}))
	if err := c.DeleteKey(t.Context(), "a/../b", "k?x"); err != nil || got != "DELETE /projects/a%2F..%2Fb/keys/k%3Fx?" {
		t.Errorf("%s, %v", got, err)
	}
	_, err := c.Executions(t.Context(), "p", "f&limit=9", 3)
	if got != "GET /projects/p/executions?function=f%26limit%3D9&limit=3" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	const two = `{"id":"a"}` + "\n{}\n" + `{"id":"b"}` + "\n"
	var got []string
	note := func(e Execution) error { got = append(got, e.ID); return nil }
	if err := answering(200, two).Follow(t.Context(), "p", "", 0, note); err == nil || err.Error() != "the node has stopped" || strings.Join(got, "") != "ab" {
		t.Errorf("followed %v, %v", got, err)
	}
	if err := answering(200, `{"id":`).Follow(t.Context(), "p", "", 0, note); err == nil || err.Error() != "the node has stopped" {
		t.Errorf("cut off: %v", err)
	}
	if err := answering(200, "oops").Follow(t.Context(), "p", "", 0, note); err == nil || err.Error() == "the node has stopped" {
		t.Errorf("nonsense: %v", err)
	}
	if err := answering(400, `{"message":"nothing to follow"}`).Follow(t.Context(), "p", "", 0, note); err == nil || err.Error() != "nothing to follow" {
		t.Errorf("refused: %v", err)
	}
	enough := errors.New("enough")
	if err := answering(200, two).Follow(t.Context(), "p", "", 0, func(Execution) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a follower's own error: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	if err := answering(200, two).Follow(ctx, "p", "", 0, func(Execution) error { stop(); return nil }); err != nil {
		t.Errorf("a follower who leaves: %v", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoNode) {
		t.Errorf("no directory: %v", err)
	}
	for name, dir := range map[string]string{"short": "d", "long": strings.Repeat("d", 120)} {
		data := filepath.Join(t.TempDir(), dir)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Dial(t.Context(), data); !errors.Is(err, ErrNoNode) {
			t.Errorf("%s: no socket: %v", name, err)
		}
		l := listen(t, data)
		if c, err := Dial(t.Context(), data); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			c.Close()
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Dial(t.Context(), data); !errors.Is(err, ErrNoNode) {
			t.Errorf("%s: a socket that a node left: %v", name, err)
		}
	}
}

// listen listens where a node would, and leaves the socket behind.
func listen(t *testing.T, data string) *net.UnixListener {
	t.Helper()
	dir, err := os.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() }) // only read
	name := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), SocketName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	return l
}

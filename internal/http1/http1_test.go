package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint/internal/sysio"
)

// handler answers in the ways that handlers do.
func handler(served string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Served-By", served)
		switch r.URL.Path {
		case "/stream":
			for i := range 3 {
				fmt.Fprintf(w, "piece %d\n", i)
				_ = http.NewResponseController(w).Flush()
			}
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte("z"), 100_000))
		case "/sized":
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(bytes.Repeat([]byte("z"), 100_000))
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/html":
			_, _ = io.WriteString(w, "<!doctype html><p>hello")
		case "/split":
			w.Header().Set("X-Split", "one\r\nX-Evil: two")
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "%s %s %q %q host=%s close=%v length=%d body=%q err=%v x=%q", r.Method, r.URL.Path, r.URL.RawQuery, r.URL.RequestURI(), r.Host, r.Close, r.ContentLength, body, err, r.Header["X-Test"])
		}
	})
}

// serve starts a server, and beside it net/http with the same handler.
func serve(tb testing.TB) (quick, plain string) {
	tb.Helper()
	rest := &http.Server{Handler: handler("rest"), ReadHeaderTimeout: time.Minute}
	s := New(Config{
		Handler: handler("http1"), Rest: rest, Logger: slog.New(slog.DiscardHandler), Wrap: sysio.Wrap,
		Takes:       func(r *http.Request) bool { return r.Host != "rest.test" },
		HeadTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, SendTimeout: time.Minute,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	beside := &http.Server{Handler: handler("rest"), ReadHeaderTimeout: time.Minute}
	bl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	go func() { _ = beside.Serve(bl) }()
	tb.Cleanup(func() {
		if err := errors.Join(s.Close(), beside.Close()); err != nil {
			tb.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String(), bl.Addr().String()
}

type seen struct {
	Status  string
	Header  http.Header
	Body    string
	Chunked bool
	Length  int64
	Err     string
}

// talk sends bytes and reads as many responses as there were requests, and then the end.
func talk(tb testing.TB, addr, sent string, methods ...string) (all []seen) {
	tb.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, sent) }()
	r := bufio.NewReader(c)
	for _, m := range methods {
		res, err := http.ReadResponse(r, &http.Request{Method: m})
		if err != nil {
			return append(all, seen{Err: "no response"})
		}
		body, err := io.ReadAll(res.Body)
		x := seen{Status: res.Status, Header: res.Header, Body: string(body), Chunked: len(res.TransferEncoding) > 0, Length: res.ContentLength}
		if err != nil {
			x.Err = "body cut"
		}
		res.Header.Del("Date")
		all = append(all, x)
	}
	return all
}

// TestSameAsNetHTTP sends the same bytes to both servers.
func TestSameAsNetHTTP(t *testing.T) {
	quick, plain := serve(t)
	const own, rest = "http1", "rest"
	for name, c := range map[string]struct {
		sent   string
		method string
		by     string
	}{
		"get":                   {"GET /a/b?x=1&y HTTP/1.1\r\nHost: f.test\r\nX-Test: 1\r\nX-test:  2 \r\n\r\n", "GET", own},
		"escapes":               {"GET /a%20b/%C3%A9?q=%20 HTTP/1.1\r\nHost: f.test:80\r\n\r\n", "GET", own},
		"lone question mark":    {"GET /a? HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"post":                  {"POST / HTTP/1.1\r\nHost: f.test\r\nContent-Length: 5\r\n\r\nhello", "POST", own},
		"empty post":            {"POST / HTTP/1.1\r\nHost: f.test\r\nContent-Length: 0\r\n\r\n", "POST", own},
		"head":                  {"HEAD /sized HTTP/1.1\r\nHost: f.test\r\n\r\n", "HEAD", own},
		"no content":            {"GET /empty HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"stream":                {"GET /stream HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"large":                 {"GET /large HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"sized":                 {"GET /sized HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"sniffed":               {"GET /html HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"line ends in a header": {"GET /split HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"redirect":              {"GET /redirect HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", own},
		"close":                 {"GET / HTTP/1.1\r\nHost: f.test\r\nConnection: close\r\n\r\n", "GET", own},
		"abort":                 {"GET /abort HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", ""},
		"another host":          {"GET / HTTP/1.1\r\nHost: rest.test\r\n\r\n", "GET", rest},
		"chunks":                {"POST / HTTP/1.1\r\nHost: f.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST", rest},
		"length and chunks":     {"POST / HTTP/1.1\r\nHost: f.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST", rest},
		"two lengths":           {"POST / HTTP/1.1\r\nHost: f.test\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello", "POST", rest},
		"signed length":         {"POST / HTTP/1.1\r\nHost: f.test\r\nContent-Length: +5\r\n\r\nhello", "POST", rest},
		"no host":               {"GET / HTTP/1.1\r\n\r\n", "GET", rest},
		"two hosts":             {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET", rest},
		"an older protocol":     {"GET / HTTP/1.0\r\nHost: f.test\r\n\r\n", "GET", rest},
		"an absolute target":    {"GET http://f.test/x HTTP/1.1\r\nHost: f.test\r\n\r\n", "GET", rest},
		"a rare method":         {"PROPFIND / HTTP/1.1\r\nHost: f.test\r\n\r\n", "PROPFIND", rest},
		"a folded header":       {"GET / HTTP/1.1\r\nHost: f.test\r\nX-Test: a\r\n b\r\n\r\n", "GET", rest},
		"a space in a name":     {"GET / HTTP/1.1\r\nHost: f.test\r\nX-Test : a\r\n\r\n", "GET", rest},
		"bare line ends":        {"GET / HTTP/1.1\nHost: f.test\n\r\n\r\n", "GET", rest},
		"a large head":          {"GET / HTTP/1.1\r\nHost: f.test\r\nX-Large: " + strings.Repeat("x", headRoom) + "\r\n\r\n", "GET", rest},
		"expectation":           {"POST / HTTP/1.1\r\nHost: f.test\r\nExpect: nothing\r\nContent-Length: 0\r\n\r\n", "POST", rest},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := talk(t, quick, c.sent, c.method), talk(t, plain, c.sent, c.method)
			if got[0].Header != nil {
				if by := got[0].Header.Get("X-Served-By"); by != c.by && !strings.HasPrefix(got[0].Status, "4") {
					t.Errorf("served by %q, want %q", by, c.by)
				}
				got[0].Header.Del("X-Served-By")
				want[0].Header.Del("X-Served-By")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-net/http +http1):\n%s", diff)
			}
		})
	}
}

func TestOneConnection(t *testing.T) {
	quick, plain := serve(t)
	body := strings.Repeat("b", 9000)
	sent := "GET /1 HTTP/1.1\r\nHost: f.test\r\n\r\n" + // one after the other, without waiting
		"POST /2 HTTP/1.1\r\nHost: f.test\r\nContent-Length: 9000\r\n\r\n" + body +
		"GET /stream HTTP/1.1\r\nHost: f.test\r\n\r\n" +
		"GET /3 HTTP/1.1\r\nHost: rest.test\r\n\r\n" + // for net/http, and with it all that follows
		"GET /4 HTTP/1.1\r\nHost: f.test\r\n\r\n" +
		"POST /5 HTTP/1.1\r\nHost: f.test\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend"
	methods := []string{"GET", "POST", "GET", "GET", "GET", "POST"}
	got, want := talk(t, quick, sent, methods...), talk(t, plain, sent, methods...)
	var by []string
	for i := range got {
		by = append(by, got[i].Header.Get("X-Served-By"))
		for _, x := range []*seen{&got[i], &want[i]} { // how a body is framed is the server's affair
			x.Chunked, x.Length = false, 0
			x.Header.Del("Content-Length")
		}
		got[i].Header.Del("X-Served-By")
		want[i].Header.Del("X-Served-By")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-net/http +http1):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"http1", "http1", "http1", "rest", "rest", "rest"}, by); diff != "" {
		t.Errorf("served by (-want +got):\n%s", diff)
	}
}

// TestShutdown: what runs finishes, what is idle closes.
func TestShutdown(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := New(Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(begun)
				<-finish
			}
			_, _ = io.WriteString(w, "done")
		}),
		Rest: &http.Server{ReadHeaderTimeout: time.Minute}, Logger: slog.New(slog.DiscardHandler), Takes: func(*http.Request) bool { return true },
		HeadTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, SendTimeout: time.Minute,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	resting, restingIn := dial()
	fmt.Fprint(resting, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, err := http.ReadResponse(restingIn, nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	} else if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	busy, busyIn := dial()
	fmt.Fprint(busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.WithoutCancel(t.Context())) }()
	if _, err := restingIn.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection reads %v, want its end", err)
	}
	close(finish)
	res, err := http.ReadResponse(busyIn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "done" || !res.Close {
		t.Errorf("the running request got %q, %v, close %v", body, err, res.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// TestHandedOverWithoutDeadlines: a connection that goes to net/http has none of ours left, however long an answer takes.
func TestHandedOverWithoutDeadlines(t *testing.T) {
	const ours = 50 * time.Millisecond
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "rest.test" {
			<-time.After(3 * ours) // longer than we would let a write wait
		}
		_, _ = io.WriteString(w, "done")
	})
	s := New(Config{
		Handler: h, Rest: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}, Logger: slog.New(slog.DiscardHandler),
		Takes:       func(r *http.Request) bool { return r.Host != "rest.test" },
		HeadTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, SendTimeout: ours,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	}()
	got := talk(t, l.Addr().String(), "GET / HTTP/1.1\r\nHost: f.test\r\n\r\nGET / HTTP/1.1\r\nHost: rest.test\r\n\r\n", "GET", "GET")
	for i, x := range got {
		if x.Body != "done" || x.Err != "" {
			t.Errorf("response %d is %+v", i+1, x)
		}
	}
}

// FuzzParse: what is taken means the same to net/http.
func FuzzParse(f *testing.F) {
	f.Add([]byte("GET /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\n"))
	f.Add([]byte("POST /%41 HTTP/1.1\r\nhost:a\r\nConnection: close\r\nCookie: a\r\nCookie: b\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: [::1]:80\r\ntransfer-encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		end := headEnd(head, 0)
		if end == 0 {
			return
		}
		r, length, ok := parse(head[:end])
		if !ok {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			t.Fatalf("net/http does not take it: %v", err)
		}
		type request struct {
			Method, Host, URI, Path, RawPath, Query, RequestURI string
			Header                                              http.Header
			Length                                              int64
			Close                                               bool
		}
		pick := func(r *http.Request, length int64) request {
			h := r.Header.Clone()
			h.Del("Content-Length")
			return request{r.Method, r.Host, r.RequestURI, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.RequestURI(), h, length, r.Close}
		}
		if diff := cmp.Diff(pick(want, want.ContentLength), pick(r, length)); diff != "" {
			t.Errorf("(-net/http +http1):\n%s", diff)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	quick, plain := serve(b)
	for name, addr := range map[string]string{"http1": quick, "net_http": plain} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.WriteString(c, "GET /a/b?x=1 HTTP/1.1\r\nHost: f.test\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"); err != nil {
					b.Fatal(err)
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

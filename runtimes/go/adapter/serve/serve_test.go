package serve

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"flint/internal/frame"
)

// got is a frame as tests compare it.
type got struct {
	Type  frame.Type
	Flags uint8
	ID    uint32
	Head  string
	Body  string
}

// peer plays Flint's side of a connection inside a synctest bubble.
type peer struct {
	t      *testing.T
	conn   net.Conn
	server *server
	ended  chan error
	block  chan struct{} // for handlers to wait on

	mu     sync.Mutex
	frames []got
	closed bool
}

// play serves handle and calls test with the other side.
func play(t *testing.T, handle func(*peer, *Call) Reply, test func(t *testing.T, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		p := &peer{t: t, conn: ours, ended: make(chan error, 1), block: make(chan struct{})}
		p.server = newServer(theirs, func(c *Call) Reply { return handle(p, c) })
		go p.read()
		go func() {
			p.server.hello()
			p.ended <- p.server.serve()
		}()
		p.expect(got{Type: frame.Hello, Body: fmt.Sprintf(`{"protocol":1,"adapter":"go","version":%q}`,
			strings.TrimPrefix(runtime.Version(), "go"))})
		test(t, p)
		_ = ours.Close()
		synctest.Wait()
	})
}

func (p *peer) read() {
	for {
		h, payload, err := frame.Read(p.conn, nil)
		p.mu.Lock()
		if err != nil {
			p.closed = true
			p.mu.Unlock()
			return
		}
		f := got{Type: h.Type, Flags: h.Flags, ID: h.ID, Body: string(payload)}
		if h.Type == frame.Response {
			head, body, err := frame.SplitHead(payload)
			if err != nil {
				p.t.Error(err)
			}
			f.Head, f.Body = string(head), string(body)
		}
		p.frames = append(p.frames, f)
		p.mu.Unlock()
	}
}

func (p *peer) send(kind frame.Type, flags uint8, id uint32, payload string) {
	p.t.Helper()
	if _, err := p.conn.Write(frame.Append(nil, kind, flags, id, []byte(payload))); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) request(flags uint8, id uint32, head, body string) {
	p.t.Helper()
	if _, err := p.conn.Write(frame.AppendWithHead(nil, frame.Request, flags, id, []byte(head), []byte(body))); err != nil {
		p.t.Fatal(err)
	}
}

// take returns what has arrived once nothing moves any more.
func (p *peer) take() []got {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.frames
	p.frames = nil
	return frames
}

func (p *peer) expect(want ...got) {
	p.t.Helper()
	if diff := cmp.Diff(want, p.take()); diff != "" {
		p.t.Errorf("frames (-want +got):\n%s", diff)
	}
}

const plain = `{"method":"GET","scheme":"http","host":"a.example","port":80,"path":"/","queryString":"",` +
	`"url":"http://a.example/","headers":{},"logging":true}`

func head(path, query string, logging bool) string {
	text, _ := json.Marshal(map[string]any{
		"method": "GET", "scheme": "http", "host": "a.example", "port": 80, "path": path, "queryString": query,
		"url": "http://a.example" + path, "headers": map[string]string{"x-name": "value"}, "logging": logging,
	})
	return string(text)
}

const ok = `{"status":200,"headers":{}}`

func failed(id uint32) got {
	return got{Type: frame.Response, Flags: frame.End, ID: id, Head: `{"status":500,"headers":{}}`}
}

// abandoned is the answer to a cancel whose goroutine goes on.
func abandoned(id uint32) got {
	g := failed(id)
	g.Flags |= frame.Abandoned
	return g
}

func logged(id uint32, stream byte, text string) got {
	return got{Type: frame.Log, ID: id, Body: string(stream) + text}
}

func TestThreads(t *testing.T) {
	for _, tt := range []struct {
		own, cpus  string
		processors int
		want       int
	}{
		{"", "1", 2, 1},
		{"", "0.5", 2, 1},
		{"", "1.5", 8, 2},
		{"", "8", 16, 8},
		{"", "2", 2, 0},
		{"", "4", 2, 0},
		{"8", "1", 2, 0},
		{"", "", 2, 0},
		{"", "many", 2, 0},
		{"", "NaN", 2, 0},
		{"", "-1", 2, 0},
	} {
		if got := threads(tt.own, tt.cpus, tt.processors); got != tt.want {
			t.Errorf("threads(%q, %q, %d) = %d, want %d", tt.own, tt.cpus, tt.processors, got, tt.want)
		}
	}
}

func TestServe(t *testing.T) {
	t.Run("load is answered by ready and exports the environment", func(t *testing.T) {
		t.Setenv("FLINT_TEST_LOADED", "")
		play(t, nil, func(t *testing.T, p *peer) {
			p.send(frame.Load, 0, 0, `{"code":"/x","entrypoint":"main.go","env":{"FLINT_TEST_LOADED":"yes"}}`)
			p.expect(got{Type: frame.Ready, Body: `{"concurrency":100}`})
		})
	})

	t.Run("a request is shown decoded and answered with logs first", func(t *testing.T) {
		var call Call
		handle := func(p *peer, c *Call) Reply {
			call = *c
			c.WriteLog("log", "one\n")
			c.WriteLog("error", "two\n")
			return Reply{Body: []byte("hi"), StatusCode: 201, Headers: map[string]string{"X-A": "b\"ü"}}
		}
		play(t, handle, func(t *testing.T, p *peer) {
			p.request(frame.End, 7, head("/a%20b/%C3%A9", "x=1&x=2&y=a+b%21&&=v", true), "body")
			p.expect(logged(7, 0, "one\n"), logged(7, 1, "two\n"), got{
				Type: frame.Response, Flags: frame.End, ID: 7, Head: `{"status":201,"headers":{"X-A":"b\"ü"}}`, Body: "hi",
			})
		})
		call.request = nil
		want := Call{
			Method: "GET", Scheme: "http", Host: "a.example", Port: 80, Path: "/a b/é", QueryString: "x=1&x=2&y=a+b%21&&=v",
			URL: "http://a.example/a%20b/%C3%A9", Query: map[string]string{"x": "1", "y": "a b!", "": "v"},
			Headers: map[string]string{"x-name": "value"}, Body: []byte("body"),
		}
		if diff := cmp.Diff(want, call, cmp.AllowUnexported(Call{})); diff != "" {
			t.Errorf("call (-want +got):\n%s", diff)
		}
	})

	t.Run("a query that cannot be decoded is an error of the request", func(t *testing.T) {
		play(t, nil, func(_ *testing.T, p *peer) {
			for _, query := range []string{"a;b", "a=%zz"} {
				p.request(frame.End, 1, head("/", query, true), "")
				p.expect(logged(1, 1, "Could not parse url params.\n"), failed(1))
			}
		})
	})

	t.Run("without logging nothing is logged", func(t *testing.T) {
		handle := func(p *peer, c *Call) Reply {
			c.WriteLog("log", "unheard\n")
			panic("unheard, too")
		}
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, head("/", "", false), "")
			p.expect(failed(1))
		})
	})

	t.Run("a panic is recovered", func(t *testing.T) {
		play(t, func(p *peer, _ *Call) Reply { panic(errors.New("no luck")) }, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.expect(logged(1, 1, "no luck\n"), failed(1))
		})
	})

	t.Run("a function that ends its goroutine is answered for", func(t *testing.T) {
		handle := func(p *peer, _ *Call) Reply { runtime.Goexit(); return Reply{} }
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.expect(logged(1, 1, "The function ended its goroutine instead of returning a response.\n"), failed(1))
		})
	})

	t.Run("requests overlap", func(t *testing.T) {
		handle := func(p *peer, c *Call) Reply {
			if string(c.Body) == "1" {
				<-p.block
			}
			return Reply{Body: c.Body}
		}
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "1")
			p.request(frame.End, 2, plain, "2")
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 2, Head: ok, Body: "2"})
			close(p.block)
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok, Body: "1"})
		})
	})

	t.Run("ping is answered while a request runs", func(t *testing.T) {
		play(t, func(p *peer, _ *Call) Reply { <-p.block; return Reply{} }, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.send(frame.Ping, 0, 0, "are you there")
			p.expect(got{Type: frame.Pong, Body: "are you there"})
			close(p.block)
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok})
		})
	})
}

func TestBodies(t *testing.T) {
	t.Run("a body in pieces is gathered, and its bytes given back", func(t *testing.T) {
		play(t, func(_ *peer, c *Call) Reply { return Reply{Body: c.Body} }, func(_ *testing.T, p *peer) {
			p.request(0, 1, plain, "ab")
			p.expect(got{Type: frame.Window, ID: 1, Body: "\x00\x00\x00\x02"})
			p.send(frame.Data, 0, 1, "cde")
			p.expect(got{Type: frame.Window, ID: 1, Body: "\x00\x00\x00\x03"})
			p.send(frame.Data, frame.End, 1, "")
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok, Body: "abcde"})
		})
	})

	t.Run("a response waits for the window", func(t *testing.T) {
		const size = frame.InitialWindow + 300_000
		play(t, func(p *peer, _ *Call) Reply { return Reply{Body: bytes.Repeat([]byte("z"), size)} }, func(t *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			if n := bodyBytes(t, p.take(), false); n != frame.InitialWindow {
				t.Errorf("%d bytes before a window, want %d", n, frame.InitialWindow)
			}
			p.send(frame.Window, 0, 1, string(binary.BigEndian.AppendUint32(nil, 100_000)))
			if n := bodyBytes(t, p.take(), false); n != 100_000 {
				t.Errorf("%d bytes after a window of 100000", n)
			}
			p.send(frame.Window, 0, 1, string(binary.BigEndian.AppendUint32(nil, 1_000_000)))
			if n := bodyBytes(t, p.take(), true); n != 200_000 {
				t.Errorf("%d bytes at the end, want 200000", n)
			}
		})
	})

	t.Run("a head that fits no frame is an error of the function", func(t *testing.T) {
		handle := func(p *peer, _ *Call) Reply {
			return Reply{Headers: map[string]string{"a": strings.Repeat("b", 1<<20)}}
		}
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.expect(logged(1, 1, "The headers of the response are larger than 786428 bytes.\n"), failed(1))
		})
	})
}

// bodyBytes counts the body of response and data frames, and checks which of them ends it.
func bodyBytes(t *testing.T, frames []got, ends bool) int {
	t.Helper()
	n := 0
	for i, f := range frames {
		n += len(f.Body)
		if len(f.Body) > frame.MaxBodyPiece {
			t.Errorf("a piece of %d bytes", len(f.Body))
		}
		if end := f.Flags&frame.End != 0; end != (ends && i == len(frames)-1) {
			t.Errorf("frame %d of %d: end is %v", i, len(frames), end)
		}
	}
	return n
}

func TestCancel(t *testing.T) {
	t.Run("it is answered at once, and what comes later is dropped", func(t *testing.T) {
		handle := func(p *peer, c *Call) Reply {
			if string(c.Body) == "again" {
				return Reply{Body: c.Body}
			}
			c.WriteLog("log", "start\n")
			<-p.block
			c.WriteLog("log", "end\n")
			return Reply{Body: []byte("late")}
		}
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.expect(logged(1, 0, "start\n"))
			p.send(frame.Cancel, 0, 1, "")
			p.expect(abandoned(1))
			p.request(frame.End, 1, plain, "again")
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok, Body: "again"})
			close(p.block)
			p.expect()
			p.send(frame.Cancel, 0, 1, "")
			p.expect()
		})
	})

	t.Run("a response that waits for its window ends", func(t *testing.T) {
		handle := func(p *peer, _ *Call) Reply { return Reply{Body: make([]byte, frame.InitialWindow+1)} }
		play(t, handle, func(_ *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.take()
			p.send(frame.Cancel, 0, 1, "")
			p.expect(got{Type: frame.Data, Flags: frame.End, ID: 1})
		})
	})

	t.Run("a request whose body is not complete ends", func(t *testing.T) {
		play(t, nil, func(_ *testing.T, p *peer) {
			p.request(0, 1, plain, "")
			p.send(frame.Cancel, 0, 1, "")
			p.expect(failed(1))
			p.send(frame.Data, frame.End, 1, "late")
			p.expect()
		})
	})
}

func TestEnd(t *testing.T) {
	t.Run("drain waits for what is in flight", func(t *testing.T) {
		play(t, func(p *peer, _ *Call) Reply { <-p.block; return Reply{} }, func(t *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			p.send(frame.Drain, 0, 0, "")
			p.send(frame.Ping, 0, 0, "x")
			p.expect(got{Type: frame.Pong, Body: "x"})
			close(p.block)
			p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok})
			if err := <-p.ended; err != nil || !p.closed {
				t.Errorf("serve() = %v, closed %v", err, p.closed)
			}
		})
	})

	t.Run("drain of an idle worker ends it", func(t *testing.T) {
		play(t, nil, func(t *testing.T, p *peer) {
			p.send(frame.Drain, 0, 0, "")
			if err := <-p.ended; err != nil {
				t.Errorf("serve() = %v", err)
			}
		})
	})

	t.Run("a closed connection ends it, whatever runs", func(t *testing.T) {
		play(t, func(p *peer, _ *Call) Reply { <-p.block; return Reply{} }, func(t *testing.T, p *peer) {
			p.request(frame.End, 1, plain, "")
			_ = p.conn.Close()
			if err := <-p.ended; err != nil {
				t.Errorf("serve() = %v", err)
			}
			close(p.block)
		})
	})

	malformed := map[string][]byte{
		"unknown type":       {0, 0, 0, 0, 99, 0, 0, 0, 0, 0},
		"too long":           {0, 0x10, 0, 1, 5, 0, 0, 0, 0, 1},
		"type of ours":       frame.Append(nil, frame.Hello, 0, 0, nil),
		"request with id 0":  frame.AppendWithHead(nil, frame.Request, frame.End, 0, []byte(plain), nil),
		"request twice":      bytes.Repeat(frame.AppendWithHead(nil, frame.Request, 0, 1, []byte(plain), nil), 2),
		"request no head":    frame.Append(nil, frame.Request, frame.End, 1, []byte("abc")),
		"request bad head":   frame.AppendWithHead(nil, frame.Request, frame.End, 1, []byte(`{"method":}`), nil),
		"window of 3 bytes":  frame.Append(nil, frame.Window, 0, 1, []byte("abc")),
		"load without JSON":  frame.Append(nil, frame.Load, 0, 0, []byte("{")),
		"variable of no use": frame.Append(nil, frame.Load, 0, 0, []byte(`{"env":{"":"x"}}`)),
	}
	for name, raw := range malformed {
		t.Run("malformed: "+name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, p *peer) {
				if _, err := p.conn.Write(raw); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Fatal(err)
				}
				if err := <-p.ended; !errors.Is(err, errProtocol) {
					t.Errorf("serve() = %v, want a protocol error", err)
				}
			})
		})
	}
}

func TestNativeOutput(t *testing.T) {
	play(t, func(p *peer, _ *Call) Reply { <-p.block; return Reply{} }, func(_ *testing.T, p *peer) {
		p.server.printed(0, []byte("idle\n"))
		p.expect(logged(0, 0, "idle\n"))
		p.request(frame.End, 1, plain, "")
		synctest.Wait()
		p.server.printed(1, []byte("alone\n"))
		p.server.printed(0, []byte("more\n"))
		p.expect(logged(1, 1, nativeNotice), logged(1, 1, "alone\n"), logged(1, 0, "more\n"))
		p.request(frame.End, 2, head("/", "", false), "")
		synctest.Wait()
		p.server.printed(0, []byte("to the newest, which is silent\n"))
		p.expect()
		p.send(frame.Cancel, 0, 2, "")
		p.expect(abandoned(2))
		p.server.printed(0, []byte("back\n"))
		p.expect(logged(1, 0, "back\n"))
		close(p.block)
		p.expect(got{Type: frame.Response, Flags: frame.End, ID: 1, Head: ok})
	})
}

func TestOutputGathers(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	w := &slowWriter{started: started, release: release}
	o := newOutput(w)
	var wg sync.WaitGroup
	add := func() {
		o.add(func(b []byte) []byte { return append(b, 'x') })
		o.flush()
	}
	wg.Go(add)
	<-started
	for range 10 {
		add()
	}
	close(release)
	wg.Wait()
	if diff := cmp.Diff([]string{"x", strings.Repeat("x", 10)}, w.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestOutputShares(t *testing.T) {
	release := make(chan struct{})
	close(release)
	w := &slowWriter{started: make(chan struct{}), release: release}
	o := newOutput(w)
	add := func(text string) uint64 { return o.add(func(b []byte) []byte { return append(b, text...) }) }
	first := add("a")
	second := add("b")
	o.share(first)
	add("c")
	o.share(second) // is written
	if diff := cmp.Diff([]string{"ab"}, w.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	o.share(add("d"))
	if diff := cmp.Diff([]string{"ab", "cd"}, w.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

type slowWriter struct {
	started, release chan struct{}
	once             sync.Once
	writes           []string
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.started) })
	<-w.release
	w.writes = append(w.writes, string(b))
	return len(b), nil
}

func (w *slowWriter) Close() error { return nil }

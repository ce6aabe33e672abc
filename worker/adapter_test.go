package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	blobfs "flint/blob/fs"
	"flint/internal/archive"
	"flint/internal/frame"
	"flint/runtimes"
	"flint/sandbox"
	"flint/sandbox/sandboxtest"
	"flint/worker"
)

// adapter is a scripted adapter: what a request does depends on its path.
type adapter struct {
	concurrency int
	failLoad    atomic.Bool
	loads       atomic.Int32
	release     chan struct{} // lets /wait requests answer
	letGo       func()        // closes release
}

func (a *adapter) run(ctx context.Context, spec sandbox.Spec, _ io.Reader) sandbox.Exit {
	conn, err := net.Dial("unix", filepath.Join(exchange(spec), runtimes.SocketName))
	if err != nil {
		fmt.Fprintln(spec.Stderr, err)
		return sandbox.Exit{Code: 1}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &session{adapter: a, conn: conn, spec: spec, exit: make(chan sandbox.Exit, 1), bodies: map[uint32]*bytes.Buffer{}, heads: map[uint32]string{}, windows: map[uint32]chan int{}}
	s.send(frame.Hello, 0, 0, []byte(`{"protocol":1}`))
	done := make(chan struct{})
	go func() { defer close(done); s.read() }()
	select {
	case e := <-s.exit:
		return e
	case <-done:
		select {
		case e := <-s.exit:
			return e
		default:
			return sandbox.Exit{}
		}
	}
}

func exchange(spec sandbox.Spec) string {
	for _, m := range spec.Mounts {
		if m.Target == runtimes.ExchangeDir {
			return m.Source
		}
	}
	return ""
}

type session struct {
	adapter *adapter
	conn    net.Conn
	spec    sandbox.Spec
	exit    chan sandbox.Exit
	env     map[string]string

	mu      sync.Mutex
	bodies  map[uint32]*bytes.Buffer
	heads   map[uint32]string
	windows map[uint32]chan int
}

func (s *session) send(t frame.Type, flags uint8, id uint32, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.conn.Write(frame.Append(nil, t, flags, id, payload))
}

func (s *session) answer(id uint32, status int, body []byte, flags uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := fmt.Sprintf(`{"status":%d,"headers":{"x-worker":"%s"}}`, status, s.spec.ID)
	_, _ = s.conn.Write(frame.AppendWithHead(nil, frame.Response, flags, id, []byte(head), body))
}

func (s *session) read() {
	r := bufio.NewReader(s.conn)
	for {
		h, payload, err := frame.Read(r, nil)
		if err != nil {
			return
		}
		switch h.Type { //nolint:exhaustive // what a pool sends
		case frame.Load:
			s.adapter.loads.Add(1)
			var load struct {
				Env map[string]string `json:"env"`
			}
			_ = json.Unmarshal(payload, &load)
			s.env = load.Env
			if s.adapter.failLoad.Load() {
				fmt.Fprintln(s.spec.Stderr, "no luck today")
				s.exit <- sandbox.Exit{Code: 7}
				return
			}
			s.send(frame.Ready, 0, 0, []byte(`{"concurrency":`+strconv.Itoa(s.adapter.concurrency)+`}`))
		case frame.Request:
			head, body, _ := frame.SplitHead(payload)
			s.heads[h.ID] = string(head)
			s.bodies[h.ID] = bytes.NewBuffer(bytes.Clone(body))
			if h.Flags&frame.End != 0 {
				s.serve(h.ID)
			}
		case frame.Data:
			s.bodies[h.ID].Write(payload)
			s.send(frame.Window, 0, h.ID, binary.BigEndian.AppendUint32(nil, uint32(len(payload))))
			if h.Flags&frame.End != 0 {
				s.serve(h.ID)
			}
		case frame.Window:
			s.mu.Lock()
			c := s.windows[h.ID]
			s.mu.Unlock()
			if c != nil {
				c <- int(binary.BigEndian.Uint32(payload))
			}
		case frame.Cancel:
			switch {
			case strings.Contains(s.heads[h.ID], "/deaf"):
			case strings.Contains(s.heads[h.ID], "/goes-on"):
				s.answer(h.ID, 500, nil, frame.End|frame.Abandoned)
			default:
				s.answer(h.ID, 500, nil, frame.End)
			}
		case frame.Drain:
			return
		}
	}
}

func (s *session) serve(id uint32) {
	head, body := s.heads[id], s.bodies[id].Bytes()
	var parsed struct{ Path, QueryString string }
	_ = json.Unmarshal([]byte(head), &parsed)
	switch parsed.Path {
	case "/wait":
		go func() {
			<-s.adapter.release
			s.answer(id, 200, []byte("released"), frame.End)
		}()
	case "/never", "/deaf", "/goes-on":
		s.send(frame.Log, 0, id, []byte("\x00begun\n"))
	case "/crash":
		s.send(frame.Log, 0, id, []byte("\x01last words\n"))
		fmt.Fprint(s.spec.Stderr, "stack trace")
		s.exit <- sandbox.Exit{Signal: 11}
	case "/oom":
		s.exit <- sandbox.Exit{Signal: 9, OutOfMemory: true}
	case "/garbage":
		_, _ = s.conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	case "/length":
		s.answer(id, 200, []byte(strconv.Itoa(len(body))), frame.End)
	case "/env":
		s.answer(id, 200, []byte(s.env[parsed.QueryString]), frame.End)
	case "/large":
		n, _ := strconv.Atoi(parsed.QueryString)
		credits := make(chan int, 1000)
		s.mu.Lock()
		s.windows[id] = credits
		s.mu.Unlock()
		go s.large(id, n, credits)
	default:
		s.send(frame.Log, 0, id, []byte("\x00hello\n"))
		s.send(frame.Log, 0, id, []byte("\x01oh\n"))
		s.answer(id, 201, append([]byte("echo "), body...), frame.End)
	}
}

// large answers with n bytes and keeps to the window.
func (s *session) large(id uint32, n int, credits chan int) {
	piece := bytes.Repeat([]byte("z"), frame.MaxBodyPiece)
	window := frame.InitialWindow
	s.answer(id, 200, nil, 0)
	for n > 0 {
		for window < len(piece) {
			window += <-credits
		}
		p := piece[:min(n, len(piece))]
		n -= len(p)
		window -= len(p)
		var flags uint8
		if n == 0 {
			flags = frame.End
		}
		s.send(frame.Data, flags, id, p)
	}
}

type bundle struct {
	pool    *worker.Pool
	driver  *sandboxtest.Fake
	adapter *adapter
	runtime *runtimes.Runtime
	digest  string
}

// setup makes a pool with scripted adapters and one package.
func setup(t testing.TB, concurrency int, change func(*worker.Config)) *bundle {
	t.Helper()
	dir, err := os.MkdirTemp("", "flint-w") //nolint:usetesting // the fake connects by the host's path, whose length is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	files, err := runtimes.Unpack(filepath.Join(dir, "rt"))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blobfs.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "source")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "index.js"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if _, err := archive.Pack(t.Context(), &packed, source); err != nil {
		t.Fatal(err)
	}
	b := &bundle{adapter: &adapter{concurrency: concurrency, release: make(chan struct{})}}
	b.adapter.letGo = sync.OnceFunc(func() { close(b.adapter.release) })
	if b.digest, _, err = blobs.Put(t.Context(), &packed); err != nil {
		t.Fatal(err)
	}
	b.driver = &sandboxtest.Fake{Run: b.adapter.run}
	b.runtime = &runtimes.Runtime{
		ID: "test-1", Name: "Test", Toolchain: &runtimes.Toolchain{Executable: "/bin/true"},
		Language: &runtimes.Language{Key: "node", Worker: runtimes.Worker{Command: []string{"{executable}"}, Concurrency: 100, Dedicated: []string{"EARLY_*"}}},
	}
	c := worker.Config{
		Driver: b.driver, Files: files, Blobs: blobs, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		RunDir: filepath.Join(dir, "run"), CacheDir: filepath.Join(dir, "cache"), CancelGrace: 200 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	if b.pool, err = worker.NewPool(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.adapter.letGo()
		b.pool.Close()
		if n := b.driver.Live(); n != 0 {
			t.Errorf("%d sandboxes are left after Close", n)
		}
		if entries, _ := os.ReadDir(c.RunDir); len(entries) != 0 {
			t.Errorf("exchange directories are left after Close: %v", entries)
		}
	})
	return b
}

func (b *bundle) target(deployment string, env map[string]string) *worker.Target {
	return &worker.Target{
		Key: deployment, Project: "p", Function: "f", Deployment: flint.DeploymentID(deployment), Digest: b.digest,
		Entrypoint: "index.js", Runtime: b.runtime, Env: env, Size: flint.SpecificationBySlug(""),
	}
}

// get makes a request and reads the whole answer.
func (b *bundle) get(ctx context.Context, target *worker.Target, path string, body []byte) (*worker.Response, string, error) {
	path, query, _ := strings.Cut(path, "?")
	resp, _, err := b.pool.Do(ctx, target, &worker.Request{Method: "GET", Scheme: "http", Path: path, QueryString: query, Logging: true, Body: body})
	if err != nil {
		return nil, "", err
	}
	var all []byte
	for {
		piece, err := resp.Next(ctx)
		if errors.Is(err, io.EOF) {
			return resp, string(all), nil
		}
		if err != nil {
			return resp, string(all), err
		}
		all = append(all, piece...)
	}
}

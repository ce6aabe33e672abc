// Package serve speaks Flint's worker protocol for one function: it reads requests, runs each on its own goroutine,
// and writes logs and answers. It imports only the standard library, and of that little: every function that is built
// compiles, links and starts it.
//
// The goroutines: the caller of [Main] reads; one flushes for it; two read what the process prints; one runs each
// request, and then waits for another: its stack has grown to what requests need. Flint bounds the requests by the
// concurrency that the adapter names. When the connection ends the process ends, so a function that was abandoned does
// not outlive it.
package serve

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	concurrency = 100
	readBuffer  = 64 << 10
)

// Handler runs the function. It may panic.
type Handler func(*Call) Reply

// Main serves the connection that the environment names and returns the status to exit with.
func Main(handle Handler) int {
	path := os.Getenv("FLINT_SOCKET")
	if path == "" {
		fmt.Fprintln(os.Stderr, "FLINT_SOCKET is not set: Flint starts this program, it is not run by hand.")
		return 1
	}
	_ = os.Unsetenv("FLINT_SOCKET") // the name is valid
	if n := threads(os.Getenv("GOMAXPROCS"), os.Getenv("OPEN_RUNTIMES_CPUS"), runtime.NumCPU()); n > 0 {
		runtime.GOMAXPROCS(n)
	}
	conn, err := dial(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := newServer(conn, handle)
	s.hello()
	s.native, err = newCapture(s.printed)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go s.native.run() // ends with the process
	if err := s.serve(); err != nil {
		fmt.Fprintln(&s.native.saved[1], err)
		return 1
	}
	return 0
}

// threads returns how many threads run Go at once in a function that may use so many of the machine's processors, 0 for what Go
// finds by itself: in a sandbox it does not see the limit. With more threads a function only has its share used up sooner,
// and then stands still; and with more than one each wakes the next, for calls that take less time than that.
func threads(own, cpus string, processors int) int {
	n, err := strconv.ParseFloat(cpus, 64)
	if own != "" || err != nil || !(n > 0) || n >= float64(processors) {
		return 0
	}
	return int(math.Ceil(n))
}

// server is one connection.
type server struct {
	in     *bufio.Reader
	out    *output
	handle Handler
	native *capture // nil: nothing is captured

	work chan *request // for goroutines that have served one
	over chan struct{} // closed when the connection has ended

	mu       sync.Mutex
	requests map[uint32]*request // not answered yet
	newest   *request            // the one that started to run last; the others hang on it
	draining bool
	err      error // why the connection was given up
}

func newServer(conn io.ReadWriteCloser, handle Handler) *server {
	return &server{
		in:       bufio.NewReaderSize(conn, readBuffer),
		out:      newOutput(conn),
		handle:   handle,
		work:     make(chan *request),
		over:     make(chan struct{}),
		requests: map[uint32]*request{},
	}
}

func (s *server) hello() {
	version, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	hello := `{"protocol":1,"adapter":"go","version":"` + version + `"}`
	s.out.add(func(b []byte) []byte { return appendFrame(b, typeHello, 0, 0, []byte(hello)) })
	s.out.flush()
}

// serve reads until the connection ends, which is no error when either side closes it between two frames.
func (s *server) serve() error {
	var flusher sync.WaitGroup
	flusher.Go(func() {
		s.out.run(s.over)
	})
	defer func() {
		s.out.abort()
		close(s.over)
		flusher.Wait()
		s.mu.Lock()
		left := slices.Collect(maps.Values(s.requests))
		s.mu.Unlock() // a request's lock comes before the server's
		for _, r := range left {
			r.abandon()
		}
	}()
	var err error
	for err == nil {
		err = s.step()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case errors.Is(err, errProtocol):
		return err
	}
	return nil // the connection ended, in whatever way
}

// step reads one frame and acts on it. The payload is in the reader's buffer when it fits.
func (s *server) step() error {
	raw, err := s.in.Peek(headerSize)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	h, err := parseHeader(raw)
	if err != nil {
		return err
	}
	if headerSize+h.length <= readBuffer {
		raw, err = s.in.Peek(headerSize + h.length)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		err = s.act(h, raw[headerSize:])
		_, _ = s.in.Discard(headerSize + h.length) // they are there
		return err
	}
	payload := make([]byte, h.length)
	_, _ = s.in.Discard(headerSize) // they are there
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return s.act(h, payload)
}

func (s *server) act(h header, payload []byte) error {
	switch h.kind {
	case typeLoad:
		return s.load(payload)
	case typeRequest:
		return s.begin(h, payload)
	case typeData:
		if r := s.request(h.id); r != nil {
			return s.receive(r, h, payload)
		}
	case typeWindow:
		if len(payload) != 4 {
			return fmt.Errorf("%w: window of %d bytes", errProtocol, len(payload))
		}
		if r := s.request(h.id); r != nil {
			r.grow(int(binary.BigEndian.Uint32(payload)))
		}
	case typeCancel:
		if r := s.request(h.id); r != nil {
			r.cancel()
			s.out.later()
		}
	case typePing:
		s.out.add(func(b []byte) []byte { return appendFrame(b, typePong, 0, 0, payload) })
		s.out.later()
	case typeDrain:
		s.drain()
	default:
		return fmt.Errorf("%w: unexpected frame of type %d", errProtocol, h.kind)
	}
	return nil
}

// load exports the environment. The function itself is part of this program.
func (s *server) load(payload []byte) error {
	var load struct {
		Env map[string]string `json:"env"`
	}
	if err := json.Unmarshal(payload, &load); err != nil {
		return fmt.Errorf("%w: load: %w", errProtocol, err)
	}
	for name, value := range load.Env {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("%w: load: variable %q: %w", errProtocol, name, err)
		}
	}
	ready := fmt.Appendf(nil, `{"concurrency":%d}`, concurrency)
	s.out.add(func(b []byte) []byte { return appendFrame(b, typeReady, 0, 0, ready) })
	s.out.later()
	return nil
}

func (s *server) begin(h header, payload []byte) error {
	head, body, err := splitHead(payload)
	if err != nil {
		return err
	}
	if h.id == 0 || s.request(h.id) != nil {
		return fmt.Errorf("%w: request with the id %d, which is not free", errProtocol, h.id)
	}
	r := &request{s: s, id: h.id, head: string(head), window: initialWindow}
	r.room.L = &r.mu
	s.mu.Lock()
	s.requests[h.id] = r
	s.mu.Unlock()
	return s.receive(r, h, body)
}

// receive takes a piece of a request's body and runs the request after the last.
func (s *server) receive(r *request, h header, piece []byte) error {
	if r.complete {
		return fmt.Errorf("%w: data after the end of request %d", errProtocol, h.id)
	}
	if err := r.receive(piece); err != nil {
		return err
	}
	if h.flags&flagEnd != 0 {
		r.complete = true
		select {
		case s.work <- r:
		default:
			go s.run(r)
		}
		return nil
	}
	if len(piece) > 0 {
		more := binary.BigEndian.AppendUint32(nil, uint32(len(piece))) // at most maxPayload
		s.out.add(func(b []byte) []byte { return appendFrame(b, typeWindow, 0, r.id, more) })
		s.out.later()
	}
	return nil
}

// run serves a request and those that come later, until the connection ends.
func (s *server) run(r *request) {
	for {
		r.serve()
		select {
		case r = <-s.work:
		case <-s.over:
			return
		}
	}
}

// start makes a request the newest of those that run, unless it was cancelled already.
func (s *server) start(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests[r.id] != r {
		return
	}
	r.before = s.newest
	if s.newest != nil {
		s.newest.after = r
	}
	s.newest = r
}

// printed sends native output: to the request that started last, or to none.
func (s *server) printed(stream byte, text []byte) {
	s.mu.Lock()
	r := s.newest
	s.mu.Unlock()
	if r != nil && r.native(stream, text) {
		return
	}
	s.out.wait()
	s.out.add(func(b []byte) []byte { return appendLog(b, 0, stream, string(text)) })
	s.out.flush()
}

// request is the request with an id that is not answered yet, or nil.
func (s *server) request(id uint32) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[id]
}

// alone reports whether at most one request is not answered yet.
func (s *server) alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests) <= 1
}

// write sees to it that what a request has queued is written. alone: no other request may have something to add.
func (s *server) write(end uint64, alone bool) {
	if alone {
		s.out.flush()
		return
	}
	s.out.share(end)
}

// forget removes a request and queues its end. The last of a draining server closes the connection behind it. It
// reports whether no other request is left.
func (s *server) forget(r *request, end func()) (alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, r.id)
	if r.before != nil {
		r.before.after = r.after
	}
	if r.after != nil {
		r.after.before = r.before
	}
	if s.newest == r {
		s.newest = r.before
	}
	r.before, r.after = nil, nil
	end()
	alone = len(s.requests) == 0
	if s.draining && alone {
		s.out.finish()
	}
	return alone
}

func (s *server) drain() {
	s.mu.Lock()
	s.draining = true
	if len(s.requests) == 0 {
		s.out.finish()
	}
	s.mu.Unlock()
	s.out.later()
}

// fail gives the connection up.
func (s *server) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.out.abort()
}

// Package http1 serves the ordinary requests of HTTP/1.1 with less work than net/http, which serves all others.
//
// It is for the one way that every call of a function takes. What it accepts is narrow on purpose: a known method, a path,
// one Host, headers of the plain form and a body of a stated length. A connection on which anything else comes, in its
// first request or in a later one, goes to net/http from that request on, with every byte that was read of it. So a rule of
// the protocol has to be known here only to the point of recognising that it applies.
//
// Unlike net/http it does not watch a connection while its request is handled: the context of a request does not end
// when its caller goes away.
package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server needs.
type Config struct {
	Handler http.Handler
	Takes   func(*http.Request) bool // whether a request is for this server; its body must not be read. All others are net/http's
	Rest    *http.Server             // serves what this one does not take; its handler, limits and log are its own
	Logger  *slog.Logger             // is told of handlers that panic
	Wrap    func(net.Conn) net.Conn  // returns what moves the bytes of a connection; nil: the connection itself

	HeadTimeout time.Duration // from the first byte of a request to the end of its head
	IdleTimeout time.Duration // until the next request of a connection; at least half of it, at most all
	BodyTimeout time.Duration // for the body of a request
	SendTimeout time.Duration // for a write of a response; at least half of it, at most all
}

// Server is safe for concurrent use.
type Server struct {
	config Config
	rest   *handover
	date   clock

	closed atomic.Bool // set under mu
	mu     sync.Mutex
	conns  map[*conn]struct{}
	done   sync.WaitGroup // a connection each
}

// New makes a Server.
func New(c Config) *Server { return &Server{config: c, conns: map[*conn]struct{}{}} }

// Serve serves the connections of a listener until Shutdown or Close; then it returns http.ErrServerClosed. It is called
// once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed.Load() {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.rest = newHandover(l.Addr())
	s.mu.Unlock()
	rest := make(chan error, 1)
	go func() { rest <- s.config.Rest.Serve(s.rest) }() // ends with the handover's Close
	err := s.accept(l)
	s.rest.Close()
	if restErr := <-rest; !errors.Is(restErr, http.ErrServerClosed) && !errors.Is(restErr, net.ErrClosed) {
		err = errors.Join(err, restErr)
	}
	return err
}

func (s *Server) accept(l net.Listener) error {
	stop := context.AfterFunc(s.rest.ctx, func() { l.Close() })
	defer stop()
	pause := time.Duration(0)
	for {
		raw, err := l.Accept()
		if err != nil {
			if s.closed.Load() {
				return http.ErrServerClosed
			}
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of descriptors, or gone before it was accepted
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				select {
				case <-time.After(pause):
				case <-s.rest.ctx.Done():
				}
				continue
			}
			return err
		}
		pause = 0
		c := &conn{server: s, raw: raw, quick: raw, remote: raw.RemoteAddr().String()}
		if wrap := s.config.Wrap; wrap != nil {
			c.quick = wrap(raw)
		}
		if !s.add(c) {
			raw.Close()
			return http.ErrServerClosed
		}
		go c.serve()
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	s.done.Add(1)
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.done.Done()
}

// Shutdown takes no new connections or requests, waits for those that run and closes everything. When ctx ends first it
// returns its error, and what runs goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(func(c *conn) {
		if c.state.CompareAndSwap(idle, over) {
			c.raw.Close()
		}
	})
	finished := make(chan struct{})
	go func() { s.done.Wait(); close(finished) }() // ends with the last request; Close makes sure of that
	err := s.config.Rest.Shutdown(ctx)
	select {
	case <-finished:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close closes all connections.
func (s *Server) Close() error {
	s.stop(func(c *conn) {
		c.state.Store(over)
		c.raw.Close()
	})
	return s.config.Rest.Close()
}

func (s *Server) stop(each func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	if s.rest != nil {
		s.rest.stop()
	}
	for c := range s.conns {
		each(c)
	}
}

// States of a connection.
const (
	idle   int32 = iota // waits for a request, or reads its head
	active              // a request is handled
	over                // closed, or about to be
)

// conn is one connection, with its own goroutine.
type conn struct {
	server *Server
	raw    net.Conn
	quick  net.Conn // raw, for bytes
	remote string
	state  atomic.Int32

	in    []byte // read and not yet parsed
	store []byte // what in is a part of
	out   []byte // of the response

	readBy, sendBy time.Time // the deadlines that are set
	body           body
	response       response
}

const (
	headRoom = 16 << 10 // the longest head that is served here
	firstIn  = 4 << 10
	keepOut  = 8 << 10 // a connection that waits keeps no larger buffers
)

func (c *conn) serve() {
	kept := true
	defer func() {
		if kept {
			c.raw.Close()
		}
		c.server.remove(c)
	}()
	for {
		r, outcome := c.next()
		if outcome == foreign {
			kept = false
			if c.raw.SetDeadline(time.Time{}) == nil { // the new owner has its own
				c.server.rest.give(c.raw, c.in)
			}
			return
		}
		if outcome == gone || !c.state.CompareAndSwap(idle, active) {
			return
		}
		if !c.handle(r) || !c.state.CompareAndSwap(active, idle) || c.server.closed.Load() {
			return
		}
	}
}

// outcome is what became of waiting for a request.
type outcome int

const (
	ready   outcome = iota
	foreign         // it is for net/http
	gone            // there will be none
)

// next waits for a request and reads its head.
func (c *conn) next() (*http.Request, outcome) {
	searched, begun := 0, false
	for {
		if end := headEnd(c.in, searched); end > 0 {
			r, length, ok := parse(c.in[:end])
			if !ok {
				return nil, foreign
			}
			r.RemoteAddr, r.ContentLength = c.remote, length
			if !c.server.config.Takes(r) {
				return nil, foreign
			}
			c.in = c.in[end:]
			c.body = body{conn: c, left: length}
			r.Body = http.NoBody
			if length > 0 {
				r.Body = &c.body
			}
			return r, ready
		}
		searched = len(c.in)
		if searched >= headRoom {
			return nil, foreign
		}
		var err error
		switch {
		case searched == 0:
			err = c.readWithin(c.server.config.IdleTimeout, true)
		case !begun:
			begun = true
			err = c.readWithin(c.server.config.HeadTimeout, false)
		}
		if err != nil || c.fill() != nil {
			return nil, gone
		}
	}
}

// readWithin sets the deadline of reading. One that is only a bound need not be exact: it is left where it is while
// more than half of it remains.
func (c *conn) readWithin(d time.Duration, loose bool) error {
	now := time.Now()
	if left := c.readBy.Sub(now); loose && left > d/2 && left <= d {
		return nil
	}
	c.readBy = now.Add(d)
	return c.raw.SetReadDeadline(c.readBy)
}

// fill reads more into the buffer, of which there is some left.
func (c *conn) fill() error {
	if len(c.in) == 0 {
		if cap(c.store) != firstIn {
			c.store = make([]byte, firstIn)
		}
		c.in = c.store[:0]
	} else if len(c.in) == cap(c.in) {
		c.store = append(make([]byte, 0, max(2*len(c.in), firstIn)), c.in...)
		c.in = c.store
		c.store = c.store[:cap(c.store)]
	}
	n, err := c.quick.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// handle serves one request and reports whether the connection can take another.
func (c *conn) handle(r *http.Request) (again bool) {
	w := &c.response
	w.reset(c, r)
	finished := false
	defer func() {
		if finished {
			return
		}
		if value := recover(); value != nil && value != http.ErrAbortHandler { //nolint:errorlint // the value itself is meant
			c.server.config.Logger.ErrorContext(r.Context(), "handler panicked", slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
		}
		again = false
	}()
	c.server.config.Handler.ServeHTTP(w, r)
	finished = true
	if w.finish() != nil || r.Close || w.close {
		return false
	}
	return c.body.drain()
}

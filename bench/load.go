package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"flint/internal/sysio"
)

// endpoint is where a server answers the calls that are measured.
type endpoint struct {
	Addr string
	Host string // of the Host header
	Body []byte // what every answer must be
	PID  int    // of the server's first process
}

// ramp is how long a load runs before it is measured.
const ramp = 300 * time.Millisecond

// patience is how long one answer may take.
const patience = 15 * time.Second

// conn is a connection that is kept open for one call after the other.
type conn struct {
	c       net.Conn
	r       *bufio.Reader
	request []byte
	buf     []byte
}

func dial(ctx context.Context, e endpoint, path string) (*conn, error) {
	c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", e.Addr)
	if err != nil {
		return nil, err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + e.Host + "\r\nUser-Agent: flint-bench\r\nAccept: */*\r\n\r\n"
	c = sysio.Wrap(c) // else its scheduler would take a processor at each call
	return &conn{c: c, r: bufio.NewReaderSize(c, 8<<10), request: []byte(request)}, nil
}

// call makes one call and returns the body of its answer, which must have status 200.
func (c *conn) call() ([]byte, error) {
	if _, err := c.c.Write(c.request); err != nil {
		return nil, err
	}
	a, err := readAnswer(c.r, c.buf)
	if err != nil {
		return nil, err
	}
	c.buf = a.body
	if a.status != 200 {
		return nil, fmt.Errorf("status %d: %.200s", a.status, a.body)
	}
	return a.body, nil
}

// sample is what one load measured.
type sample struct {
	latencies []time.Duration // of the calls that were answered within the measured time, sorted
	elapsed   time.Duration
}

// load keeps n calls at e in flight, each connection making its next when the last is answered. The first wrong answer
// ends it. begin and end are called at the edges of the measured time.
func load(ctx context.Context, e endpoint, n int, d time.Duration, begin, end func()) (sample, error) {
	conns := make([]*conn, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.c.Close()
			}
		}
	}()
	for i := range conns {
		var err error
		if conns[i], err = dial(ctx, e, "/"); err != nil {
			return sample{}, err
		}
	}
	from := time.Now().Add(ramp)
	to := from.Add(d)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			_ = c.c.SetDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	found := make([][]time.Duration, n)
	var wg sync.WaitGroup
	for i, c := range conns {
		if err := c.c.SetDeadline(to.Add(patience)); err != nil {
			return sample{}, err
		}
		wg.Go(func() {
			var err error
			if found[i], err = c.loop(e.Body, from, to); err != nil {
				cancel(err)
			}
		})
	}
	if waitUntil(ctx, from) {
		begin()
		if waitUntil(ctx, to) {
			end()
		}
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return sample{}, fmt.Errorf("%d connections: %w", n, err)
	}
	all := slices.Concat(found...)
	if len(all) == 0 {
		return sample{}, errors.New("no call was answered in the measured time")
	}
	slices.Sort(all)
	return sample{latencies: all, elapsed: d}, nil
}

// waitUntil reports whether the time came before ctx ended.
func waitUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// loop calls until a time and returns how long those calls took that were answered between from and to.
func (c *conn) loop(want []byte, from, to time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, 4096)
	for last := time.Now(); last.Before(to); {
		body, err := c.call()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(body, want) {
			return nil, fmt.Errorf("the answer is %.200q instead of %q", body, want)
		}
		now := time.Now()
		if !now.Before(from) && !now.After(to) {
			latencies = append(latencies, now.Sub(last))
		}
		last = now
	}
	return latencies, nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// shot is a call that is made at its time, whether those before it have been answered or not.
type shot struct {
	at   time.Duration // since the beginning
	path string
}

// outcome is how a shot ended.
type outcome struct {
	status int
	body   []byte
	took   time.Duration // since its time had come: a call that the generator makes late has waited
	err    error         // there was no answer

	sent, answered time.Time
}

// player makes calls on connections that are kept open, as many as there are calls in flight.
type player struct {
	addr  string
	mu    sync.Mutex
	free  []*conn // the one used last is used next
	limit chan struct{}
}

// maxFlight is how many calls a player has in flight.
const maxFlight = 12_000

func newPlayer(addr string) *player {
	return &player{addr: addr, limit: make(chan struct{}, maxFlight)}
}

func (p *player) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.free {
		c.c.Close()
	}
	p.free = nil
}

// play makes the shots, which are in the order of their times, and waits for all answers. ended is called for each in a
// goroutine of its own.
func (p *player) play(ctx context.Context, shots []shot, ended func(i int, o outcome)) error {
	begin := time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, s := range shots {
		due := begin.Add(s.at)
		if time.Until(due) > 0 && !waitUntil(ctx, due) {
			return context.Cause(ctx)
		}
		select {
		case p.limit <- struct{}{}:
		default:
			return fmt.Errorf("%d calls are in flight: the server neither answers nor refuses", maxFlight)
		}
		wg.Go(func() {
			sent := time.Now()
			o := p.shoot(ctx, s.path)
			o.sent, o.answered = sent, time.Now()
			o.took = o.answered.Sub(due)
			<-p.limit
			ended(i, o)
		})
	}
	return nil
}

// shoot makes one call.
func (p *player) shoot(ctx context.Context, path string) outcome {
	for {
		c, used, err := p.connection(ctx)
		if err != nil {
			return outcome{err: err}
		}
		stop := context.AfterFunc(ctx, func() { _ = c.c.SetDeadline(time.Unix(1, 0)) })
		a, err := c.get(p.addr, path)
		stop()
		if err == nil {
			o := outcome{status: a.status, body: append([]byte{}, a.body...)}
			p.mu.Lock()
			p.free = append(p.free, c)
			p.mu.Unlock()
			return o
		}
		c.c.Close()
		if used && ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
			continue // it was closed because it was idle
		}
		return outcome{err: err}
	}
}

func (p *player) connection(ctx context.Context) (c *conn, used bool, err error) {
	p.mu.Lock()
	if last := len(p.free) - 1; last >= 0 {
		c, p.free = p.free[last], p.free[:last]
	}
	p.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	d, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, false, err
	}
	return &conn{c: d, r: bufio.NewReaderSize(d, 4<<10)}, false, nil
}

// get asks for a path and returns the answer, whatever its status.
func (c *conn) get(host, path string) (answer, error) {
	if err := c.c.SetDeadline(time.Now().Add(4 * patience)); err != nil {
		return answer{}, err
	}
	if _, err := c.c.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: flint-bench\r\nAccept: */*\r\n\r\n")); err != nil {
		return answer{}, err
	}
	a, err := readAnswer(c.r, c.buf)
	c.buf = a.body
	return a, err
}

// together makes calls that are due within a step all due at its beginning. A machine that is full pays more for each time that
// generator and server wake up than for the calls themselves, and it is not the generator that is measured.
func together(shots []shot, step time.Duration) []shot {
	for i := range shots {
		shots[i].at = shots[i].at.Truncate(step)
	}
	return shots
}

// steady returns shots at one path, so many in a second, for a while.
func steady(path string, perSecond float64, d time.Duration) []shot {
	shots := make([]shot, int(perSecond*d.Seconds()))
	for i := range shots {
		shots[i] = shot{time.Duration(float64(i) / perSecond * float64(time.Second)), path}
	}
	return shots
}

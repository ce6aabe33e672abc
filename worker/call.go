package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"flint"
	"flint/internal/frame"
)

// call is one request in flight. Who reads from the worker fills it; the caller of Pool.Do empties it.
type call struct {
	worker *worker
	id     uint32
	shared bool          // it was not the only one in its worker when it began
	alone  bool          // the only one in this node, and likely to be answered soon
	wake   chan struct{} // capacity 1: something below changed

	said      func([]byte)     // hears what the call logs; nil: nobody does
	execution *flint.Execution // whose logs are passed on; nil: nobody's

	mu       sync.Mutex
	logs     tail
	errors   tail
	answered bool // status and headers are there
	status   int
	headers  []flint.Header
	body     []byte // received and not yet taken
	ended    bool   // the worker has ended its response
	err      error  // why there will be no more
	canceled bool   // the caller has given up
	late     bool   // the caller has given up because of a deadline
	overdue  *time.Timer
	window   int // body bytes that may still be sent

	waited         toll
	mark           mark
	sent, received int64 // bytes of the bodies
	settled        bool  // the two below are known
	run            time.Duration
	usage          usage

	response Response // that Pool.Do returns
}

func newCall(w *worker) *call {
	return &call{
		worker: w, wake: make(chan struct{}, 1), window: frame.InitialWindow,
		logs: tail{max: flint.MaxExecutionLog}, errors: tail{max: flint.MaxExecutionLog},
	}
}

func (c *call) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// settle closes the account of the call. gone: the worker is done with it. The lock is held.
func (c *call) settle(gone bool) {
	now := time.Now()
	if c.settled {
		if gone {
			c.worker.account.leave(now)
		}
		return
	}
	c.settled, c.run = true, now.Sub(c.mark.at)
	c.usage = c.worker.account.end(c.mark, now, gone)
}

// receipt is what the call took, once it is settled. The lock is held.
func (c *call) receipt() flint.Receipt {
	if c.usage.unsure {
		c.usage = c.worker.account.again(c.mark, c.usage, time.Now())
	}
	return flint.Receipt{
		Queue: c.waited.queue, ColdStart: c.waited.start, Run: c.run, RequestBytes: c.sent, ResponseBytes: c.received,
		CPU: c.usage.cpu, PeakMemory: c.usage.peak, Shared: c.usage.shared, Estimated: c.usage.estimated, PeakOfStart: !c.usage.partial,
	}
}

// receive takes a frame that belongs to the call. It runs on who reads from the worker and reports whether the response
// ended, and if so whether that was after its deadline.
func (c *call) receive(h frame.Header, payload []byte) (ended, overdue bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch h.Type {
	case frame.Log:
		if len(payload) == 0 || payload[0] > 1 {
			return false, false, frame.ErrMalformed
		}
		if c.canceled || c.ended {
			return false, false, nil
		}
		stream := &c.logs
		if payload[0] == 1 {
			stream = &c.errors
		}
		stream.take(payload[1:])
		if logged := c.worker.pool.config.Logged; logged != nil && c.execution != nil {
			logged(c.execution, payload[0] == 1, payload[1:])
		}
		if c.said != nil {
			c.said(payload[1:])
		}
		stream.dropped = stream.dropped || h.Flags&frame.Dropped != 0
		return false, false, nil // whoever waits waits for more than a log
	case frame.Window:
		if len(payload) != 4 {
			return false, false, frame.ErrMalformed
		}
		c.window += int(binary.BigEndian.Uint32(payload))
	case frame.Response:
		if c.answered {
			return false, false, frame.ErrMalformed
		}
		head, body, err := frame.SplitHead(payload)
		if err != nil {
			return false, false, err
		}
		if c.status, c.headers, err = parseHead(head); err != nil {
			return false, false, err
		}
		c.answered, c.body = true, body
		c.count(len(body))
	case frame.Data:
		if !c.answered {
			return false, false, frame.ErrMalformed
		}
		c.body = append(c.body, payload...)
		c.count(len(payload))
	default:
		return false, false, frame.ErrMalformed
	}
	if len(c.body) > frame.InitialWindow+frame.MaxPayload {
		return false, false, errors.New("the worker sent more than its window")
	}
	if h.Type != frame.Window && h.Flags&frame.End != 0 && !c.ended {
		c.ended = true
		c.settle(true)
	}
	if c.canceled {
		c.body = nil
	}
	if c.ended && c.overdue != nil {
		c.overdue.Stop()
	}
	if !c.ended { // its end is told when its slot is free again: the next call of the same caller finds it
		c.signal()
	}
	return c.ended, c.late, nil
}

// count notes bytes of the response's body. The lock is held.
func (c *call) count(n int) {
	if !c.settled {
		c.received += int64(n)
	}
}

// fail ends the call because its worker ended.
func (c *call) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overdue != nil {
		c.overdue.Stop()
	}
	if !c.ended {
		c.err = err
		c.settle(true)
	}
	c.signal()
}

// await waits until ready, which runs under the lock, says so.
func (c *call) await(ctx context.Context, ready func() bool) error {
	for {
		c.mu.Lock()
		ok, err := ready(), c.err
		c.mu.Unlock()
		if ok {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			c.cancel(true)
			c.letGo()
			return context.Cause(ctx)
		}
	}
}

// lookOut looks for the beginning of the response itself, until another call wants the processor.
func (c *call) lookOut() {
	w := c.worker
	w.in.look(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.answered || w.pool.inFlight.Load() > 1
	})
}

// letGoTime is how long a caller whose deadline has passed waits for the worker to drop the call. Nearly all do at once,
// and then the caller's next call finds the worker free of suspicion.
const letGoTime = 50 * time.Millisecond

func (c *call) letGo() {
	timer := time.NewTimer(letGoTime)
	defer timer.Stop()
	for {
		c.mu.Lock()
		over := c.ended || c.err != nil
		c.mu.Unlock()
		if over {
			return
		}
		select {
		case <-c.wake:
		case <-timer.C:
			return
		}
	}
}

// cancel gives the call up: the worker is told, and killed when it does not come back within the grace period. One that
// missed a deadline gets no other calls until then.
func (c *call) cancel(late bool) {
	c.mu.Lock()
	if c.canceled || c.ended || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.canceled, c.late, c.body = true, late, nil
	c.settle(false)
	grace := c.worker.pool.config.CancelGrace
	c.overdue = time.AfterFunc(grace, func() {
		c.worker.kill("a call in it did not stop within " + grace.String() + " of its deadline")
	})
	c.mu.Unlock()
	if late {
		c.worker.group.suspect(c.worker)
	}
	c.worker.send(func(b []byte) []byte { return frame.Append(b, frame.Cancel, 0, c.id, nil) })
}

// transmit sends the request: all of it in one frame when it is small, else piece by piece as the worker takes it.
func (c *call) transmit(ctx context.Context, r *Request) error {
	first := r.Body
	if len(first) > frame.MaxBodyPiece {
		first = first[:frame.MaxBodyPiece]
	}
	rest := r.Body[len(first):]
	var flags uint8
	if len(rest) == 0 && r.More == nil {
		flags = frame.End
	}
	c.window -= len(first) // nobody else knows the call yet
	c.sent += int64(len(first))
	c.worker.post(func(b []byte) []byte {
		b = append(b, make([]byte, frame.HeaderSize+4)...)
		start := len(b)
		b = r.appendHead(b)
		head := len(b) - start
		b = append(b, first...)
		frame.AppendHeader(b[:start-frame.HeaderSize-4], frame.Request, flags, c.id, 4+head+len(first))
		binary.BigEndian.PutUint32(b[start-4:], uint32(head)) // heads are bounded by the HTTP server
		return b
	}, c.shared)
	if flags&frame.End != 0 {
		return nil
	}
	for len(rest) > 0 {
		n := min(len(rest), frame.MaxBodyPiece)
		if done, err := c.transmitPiece(ctx, rest[:n], r.More == nil && n == len(rest)); done || err != nil {
			return err
		}
		rest = rest[n:]
	}
	if r.More == nil {
		return nil
	}
	buf := make([]byte, frame.MaxBodyPiece)
	for {
		n, err := io.ReadFull(r.More, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			c.cancel(false)
			return &BodyError{err}
		}
		if done, err := c.transmitPiece(ctx, buf[:n], last); done || last || err != nil {
			return err
		}
	}
}

// transmitPiece sends one piece once the window allows it. done: the worker has answered already and needs no more.
func (c *call) transmitPiece(ctx context.Context, piece []byte, last bool) (done bool, err error) {
	err = c.await(ctx, func() bool {
		if done = c.ended; done || c.window >= len(piece) {
			c.window -= len(piece)
			if !done {
				c.sent += int64(len(piece))
			}
			return true
		}
		return false
	})
	if done || err != nil {
		return done, err
	}
	var flags uint8
	if last {
		flags = frame.End
	}
	c.worker.send(func(b []byte) []byte { return frame.Append(b, frame.Data, flags, c.id, piece) })
	return false, nil
}

// Next returns the next piece of the body, or io.EOF after the last. The piece is the caller's. When ctx ends the call
// is given up.
func (r *Response) Next(ctx context.Context) ([]byte, error) {
	c := r.call
	if len(r.body) > 0 {
		piece := r.body
		r.body = nil
		return piece, nil
	}
	var piece []byte
	ended := false
	err := c.await(ctx, func() bool {
		piece, c.body = c.body, nil
		ended = c.ended
		return ended || len(piece) > 0
	})
	switch {
	case err != nil:
		return nil, err
	case len(piece) == 0:
		return nil, io.EOF
	case !ended:
		c.worker.send(func(b []byte) []byte { return frame.Append(b, frame.Window, 0, c.id, windowPayload(len(piece))) })
	}
	return piece, nil
}

// Ended reports whether the worker has ended the response and all of its body has been taken.
func (r *Response) Ended() bool {
	r.call.mu.Lock()
	defer r.call.mu.Unlock()
	return r.call.ended && len(r.call.body) == 0 && len(r.body) == 0
}

// Output returns what the call has logged. It is complete once Next has returned io.EOF.
func (r *Response) Output() Output { return r.call.output() }

// Close gives up what the caller has not read.
func (r *Response) Close() { r.call.cancel(false) }

func windowPayload(n int) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(n)) // bounded by the window
}

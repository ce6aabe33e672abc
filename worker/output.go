package worker

import (
	"slices"
	"time"

	"flint"
)

// tail keeps the newest bytes of what is written to it. It is not safe for concurrent use.
type tail struct {
	buf     []byte
	max     int
	dropped bool
}

// take is write of what nobody changes afterwards.
func (t *tail) take(p []byte) {
	if t.buf == nil && len(p) <= t.max {
		t.buf = slices.Clip(p) // most calls log once; more is not written into it
		return
	}
	t.write(p)
}

func (t *tail) write(p []byte) {
	if len(p) > t.max {
		p, t.dropped = p[len(p)-t.max:], true
		t.buf = nil
	}
	if len(t.buf)+len(p) > 2*t.max { // move only once per max bytes
		keep := t.max - len(p)
		n := copy(t.buf, t.buf[len(t.buf)-keep:])
		t.buf, t.dropped = t.buf[:n], true
	}
	t.buf = append(t.buf, p...)
}

func (t *tail) bytes() []byte {
	if len(t.buf) > t.max {
		t.dropped = true
		return t.buf[len(t.buf)-t.max:]
	}
	return t.buf
}

// Output is what a call leaves: what it has logged, and what it took.
type Output struct {
	Logs, Errors string
	Receipt      flint.Receipt
}

// waited returns what is left of a call that no worker had.
func waited(t toll) Output {
	return Output{Receipt: flint.Receipt{Queue: t.queue, ColdStart: t.start, CPU: -1, PeakMemory: -1}}
}

// toll is how long a call has waited for a place in a worker, and how long then for the worker to start.
type toll struct{ queue, start time.Duration }

// span is a stretch of time.
type span struct{ from, until time.Time }

// since divides the wait of a call that has what it waited for now. start is when its worker started.
func since(begin time.Time, start span) toll {
	now := time.Now()
	if begin.After(start.from) {
		start.from = begin
	}
	if now.Before(start.until) {
		start.until = now
	}
	t := toll{start: max(0, start.until.Sub(start.from))}
	t.queue = now.Sub(begin) - t.start
	return t
}

func (c *call) output() Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	clip := func(t *tail, what string) string {
		if len(t.buf) == 0 {
			return ""
		}
		b := t.bytes()
		return flint.ClipOutput(string(b), what, t.dropped)
	}
	return Output{clip(&c.logs, "Logs"), clip(&c.errors, "Errors"), c.receipt()}
}

package worker

import "flint"

// tail keeps the newest bytes of what is written to it. It is not safe for concurrent use.
type tail struct {
	buf     []byte
	max     int
	dropped bool
}

func (t *tail) write(p []byte) {
	if len(p) > t.max {
		p, t.dropped = p[len(p)-t.max:], true
		t.buf = t.buf[:0]
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

// Output is what a call has logged.
type Output struct{ Logs, Errors string }

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
	return Output{clip(&c.logs, "Logs"), clip(&c.errors, "Errors")}
}

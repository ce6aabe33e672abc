package http1

import (
	"errors"
	"io"
)

// body is the body of a request that says how long it is.
type body struct {
	conn   *conn
	left   int64 // bytes that have not been read
	timed  bool  // reading has a deadline
	closed bool
}

var errBodyClosed = errors.New("the body of the request is closed")

func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, errBodyClosed
	case b.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.left)]
	c := b.conn
	if len(c.in) > 0 {
		n := copy(p, c.in)
		c.in = c.in[n:]
		b.left -= int64(n)
		return n, nil
	}
	if !b.timed {
		if err := c.readWithin(c.server.config.BodyTimeout, false); err != nil {
			return 0, err
		}
		b.timed = true
	}
	n, err := c.quick.Read(p)
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

// maxDrain is how much of a body that nobody has read is read for the sake of the next request.
const maxDrain = 256 << 10

// drain makes way for the next request and reports whether there is one.
func (b *body) drain() bool {
	if b.left == 0 {
		return true
	}
	if b.left > maxDrain {
		return false
	}
	b.closed = false
	_, err := io.Copy(io.Discard, b)
	return err == nil
}

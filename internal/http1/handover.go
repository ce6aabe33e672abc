package http1

import (
	"context"
	"io"
	"net"
)

// handover is the listener of the server for the rest: connections come to it from here.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	ctx   context.Context //nolint:containedctx // of the listener's life
	stop  context.CancelFunc
}

func newHandover(addr net.Addr) *handover {
	h := &handover{addr: addr, conns: make(chan net.Conn)}
	h.ctx, h.stop = context.WithCancel(context.Background()) //nolint:forbidigo // ends with Close
	return h
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.stop()
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

// give hands a connection over, with what has been read of it.
func (h *handover) give(c net.Conn, read []byte) {
	select {
	case h.conns <- &replayed{Conn: c, read: append([]byte(nil), read...)}:
	case <-h.ctx.Done():
		c.Close()
	}
}

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	net.Conn

	read []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// ReadFrom lets the kernel move files to the connection, where it can.
func (c *replayed) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

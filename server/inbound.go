package server

import (
	"context"
	"net"
	"sync"
)

// inbound is the listener of the connections that come from inside sandboxes, at the ports that the node has there.
type inbound struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var _ net.Listener = (*inbound)(nil)

// newInbound returns a listener that says it listens at addr.
func newInbound(addr net.Addr) *inbound {
	return &inbound{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// serve hands a connection to who accepts, and gives it up when ctx ends before.
func (i *inbound) serve(ctx context.Context, c net.Conn) {
	select {
	case i.conns <- c:
	case <-i.done:
		_ = c.Close()
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept waits for the next connection.
func (i *inbound) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.done:
		return nil, net.ErrClosed
	}
}

// Addr is the address of the node's own listener.
func (i *inbound) Addr() net.Addr { return i.addr }

// Close ends Accept, and refuses who comes later.
func (i *inbound) Close() error {
	i.once.Do(func() { close(i.done) })
	return nil
}

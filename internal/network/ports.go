package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Port is a TCP port on the loopback of networks that this process answers.
type Port struct {
	Addr  netip.AddrPort
	Build bool // networks of class Build alone have it
	// Serve takes a connection over and may keep it after it has returned; ctx ends with the network, which closes the
	// connection.
	Serve func(ctx context.Context, c net.Conn)
}

// Bounds of what a sandbox may have open at its ports.
const (
	mostConnections = 512
	acceptPause     = 100 * time.Millisecond // when this process has no descriptor to spare
	dialTimeout     = 10 * time.Second
)

// Relay returns a Serve that passes a connection on to an address of the host.
func Relay(to netip.AddrPort) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) { relay(ctx, c, to) }
}

func relay(ctx context.Context, c net.Conn, to netip.AddrPort) {
	defer c.Close()
	dialer := net.Dialer{Timeout: dialTimeout}
	other, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return // who connected sees the connection end, as when a server dies
	}
	defer other.Close()
	defer context.AfterFunc(ctx, func() { _ = other.Close() })()
	both(other, c)
}

// both copies in both directions until both have ended.
func both(a, b net.Conn) {
	var all sync.WaitGroup
	all.Go(func() { pass(a, b) })
	all.Go(func() { pass(b, a) })
	all.Wait()
}

func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		_ = from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side may be gone
	}
}

// service is what this process answers in every network.
type service struct {
	ports      []Port
	nameServer netip.Addr
	names      *resolver
}

func newService(cfg Config) *service {
	return &service{ports: cfg.Ports, nameServer: cfg.NameServer, names: newResolver(cfg.Resolv)}
}

// offered returns the ports that networks of a class have.
func (s *service) offered(c Class) []Port {
	return slices.DeleteFunc(slices.Clone(s.ports), func(p Port) bool { return p.Build && c != Build })
}

// Network is a network namespace for one sandbox.
type Network struct {
	service *service
	class   Class
	addr    netip.Addr // as the host sees it; those of class Node have it in name only
	free    func()     // gives the address back

	space     *os.File      // nil when it is made by those who start in it
	link      string        // the interface on the host's side
	rootless  *Rootless     // nil when space is not
	helper    *net.UnixConn // sends the sockets that it opened inside; nil when there is none, or no more
	listeners []*listener
	names     net.PacketConn // nil for class Node

	ctx   context.Context //nolint:containedctx // ends with Close
	quit  context.CancelFunc
	tasks sync.WaitGroup
	once  sync.Once

	mu   sync.Mutex
	open map[*conn]struct{}
}

type listener struct {
	net.Listener
	serve func(context.Context, net.Conn)
}

func newNetwork(ctx context.Context, s *service, class Class, addr netip.Addr, free func()) *Network {
	n := &Network{service: s, class: class, addr: addr, free: free, open: map[*conn]struct{}{}}
	n.ctx, n.quit = context.WithCancel(ctx)
	return n
}

// Addr is the address that connections from the network have.
func (n *Network) Addr() netip.Addr { return n.addr }

// Enter runs f with the calling thread in the network. The thread is locked to its goroutine, and what f starts inherits
// the network. The error says also that the thread could not return.
func (n *Network) Enter(f func() error) (err error) {
	runtime.LockOSThread()
	host, err := os.Open(ownSpace)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer host.Close()
	if err := unix.Setns(int(n.space.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter a network: %w", err)
	}
	defer func() {
		if back := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave a network: %w", back))
			return // the thread stays locked: nothing else may run on it
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// Close ends what this process has in the network. The kernel takes the rest away when the last process in it is gone.
func (n *Network) Close() {
	n.once.Do(func() {
		n.quit()
		if n.helper != nil {
			_ = n.helper.Close()
		}
		for _, l := range n.listeners {
			_ = l.Close()
		}
		if n.names != nil {
			_ = n.names.Close()
		}
		n.mu.Lock()
		for c := range n.open {
			_ = c.TCPConn.Close()
		}
		n.mu.Unlock()
		n.tasks.Wait()
		if n.space != nil {
			_ = n.space.Close()
		}
		n.free()
	})
}

// listen opens the ports. The thread is inside; sockets stay where they were opened.
func (n *Network) listen() error {
	open := func(addr netip.AddrPort, serve func(context.Context, net.Conn)) error {
		l, err := (&net.ListenConfig{}).Listen(n.ctx, "tcp", addr.String())
		if err != nil {
			return fmt.Errorf("listen in a network: %w", err)
		}
		n.listeners = append(n.listeners, &listener{l, serve})
		return nil
	}
	for _, p := range n.service.offered(n.class) {
		if err := open(p.Addr, p.Serve); err != nil {
			return err
		}
	}
	if n.class == Node {
		return nil
	}
	at := netip.AddrPortFrom(n.service.nameServer, 53)
	if err := open(at, n.service.names.stream); err != nil {
		return err
	}
	var err error
	if n.names, err = (&net.ListenConfig{}).ListenPacket(n.ctx, "udp4", at.String()); err != nil {
		return fmt.Errorf("listen in a network: %w", err)
	}
	return nil
}

// serve starts what answers at the ports. Close ends it.
func (n *Network) serve() {
	for _, l := range n.listeners {
		n.tasks.Go(func() { n.accept(l) })
	}
	if n.names != nil {
		n.tasks.Go(func() { n.service.names.answer(n.ctx, n.names) })
	}
}

// accept takes connections, of which only so many are open at once: others wait in the kernel, or are refused there.
func (n *Network) accept(l *listener) {
	room := make(chan struct{}, mostConnections)
	for {
		select {
		case room <- struct{}{}:
		case <-n.ctx.Done():
			return
		}
		got, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		tcp, ok := got.(*net.TCPConn)
		if err != nil || !ok {
			<-room
			pause := time.NewTimer(acceptPause)
			select {
			case <-pause.C:
			case <-n.ctx.Done():
			}
			pause.Stop()
			continue
		}
		c := &conn{TCPConn: tcp, network: n, free: func() { <-room }}
		n.mu.Lock()
		n.open[c] = struct{}{}
		n.mu.Unlock()
		if n.ctx.Err() != nil { // Close may not have seen it
			_ = c.Close()
			return
		}
		n.tasks.Go(func() { l.serve(n.ctx, c) })
	}
}

// conn is a connection from a network. It says whose it is: what comes from a loopback is believed more than a stranger.
type conn struct {
	*net.TCPConn
	network *Network
	free    func()
	once    sync.Once
}

// RemoteAddr is the address of the network and the port of the connection.
func (c *conn) RemoteAddr() net.Addr {
	port := uint16(0)
	if a, ok := c.TCPConn.RemoteAddr().(*net.TCPAddr); ok {
		port = uint16(a.Port)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.network.addr, port))
}

// Close closes the connection.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() {
		c.network.mu.Lock()
		delete(c.network.open, c)
		c.network.mu.Unlock()
		c.free()
	})
	return err
}

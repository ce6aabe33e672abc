package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// carrierAddr is where the sandboxes' connections to elsewhere are redirected to.
var carrierAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1}) //nolint:gochecknoglobals // read only

// carry makes the connection that somebody inside wants to make, if the policy lets it. The far end's refusal comes late:
// who connects has been told already that the connection stands, and is told now that it is reset.
func (n *Network) carry(ctx context.Context, c net.Conn) {
	defer c.Close()
	inside, ok := c.(*conn)
	if !ok {
		return
	}
	to, err := originally(inside.TCPConn)
	if err == nil && n.rootless.permits(n.class, to, wayTo(to.Addr())) {
		dialer := net.Dialer{Timeout: dialTimeout}
		dialer.SetMultipathTCP(false)
		var far net.Conn
		if far, err = dialer.DialContext(ctx, "tcp4", to.String()); err == nil {
			defer far.Close()
			defer context.AfterFunc(ctx, func() { _ = far.Close() })()
			both(far, inside.TCPConn)
			return
		}
	}
	_ = inside.SetLinger(0) // it is reset
}

// originally returns where a connection was to go that was redirected.
func originally(c *net.TCPConn) (to netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return to, err
	}
	var addr unix.RawSockaddrInet4
	size := uint32(unsafe.Sizeof(addr))
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_IP, unix.SO_ORIGINAL_DST,
			uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err == nil && errno != 0 {
		err = fmt.Errorf("ask where a connection was to go: %w", errno)
	}
	port := (*[2]byte)(unsafe.Pointer(&addr.Port)) // in the order of the network
	return netip.AddrPortFrom(netip.AddrFrom4(addr.Addr), uint16(port[0])<<8|uint16(port[1])), err
}

// way is where the host would send what goes to an address.
type way int

const (
	nowhere way = iota // or to many at once
	away
	toItself
)

// wayTo asks the kernel, which alone knows all addresses that are the host's at this moment.
func wayTo(a netip.Addr) way {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil || len(routes) != 1 {
		return nowhere
	}
	switch routes[0].Type {
	case unix.RTN_UNICAST:
		return away
	case unix.RTN_LOCAL:
		return toItself
	}
	return nowhere
}

// permits says whether networks of a class may connect to an address.
func (r *Rootless) permits(class Class, to netip.AddrPort, by way) bool {
	a := to.Addr()
	switch {
	case a.IsLoopback() || by == nowhere:
		return false
	case slices.Contains(r.reach(class), to):
		return true
	case by == toItself:
		return r.ownAllowed(a)
	}
	for _, v := range r.verdicts {
		if v.to.Contains(a) {
			return v.allow
		}
	}
	return true
}

// reach returns what networks of a class reach whatever the prefixes say.
func (r *Rootless) reach(class Class) []netip.AddrPort {
	if class == Build {
		return slices.Concat(r.config.Policy.Reach, r.config.Policy.BuildReach)
	}
	return r.config.Policy.Reach
}

// ownAllowed says whether an address of the host is allowed by name.
func (r *Rootless) ownAllowed(a netip.Addr) bool {
	return slices.Contains(ownAddresses(r.verdicts), single(a))
}

package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	ownSpace = "/proc/thread-self/ns/net"
	inside   = "eth0" // the interface as the sandbox sees it
	linkNone = 1      // of the ways in which the kernel makes addresses of IPv6 for an interface: not at all
)

// hardware is the address of both ends of a pair. They ask nobody who has which address: each sends to its own, which is
// the other's.
var hardware = net.HardwareAddr{0x02, 'f', 'l', 'i', 'n', 't'} //nolint:gochecknoglobals // read only

// maker is the state of the thread that makes networks.
type maker struct {
	pool   *Pool
	host   *os.File        // the namespace that the process was started in
	links  *netlink.Handle // talks to it
	names  []string        // interfaces that lead out
	router bool            // packets are forwarded between all of them
	mtu    int
	looked time.Time
}

// run prepares networks until the pool is closed. How the first one goes it reports.
func (p *Pool) run(first chan<- error) {
	defer close(p.gone)
	runtime.LockOSThread() // never unlocked: should it be lost in another namespace, it ends with this function
	m := &maker{pool: p}
	err := m.open()
	defer m.close()
	var probe *Network
	if err == nil {
		probe, err = m.make(p.config.Prepare) // tells more than all guesses
	}
	if err == nil {
		p.ready <- probe
	}
	first <- err
	if err != nil {
		return
	}
	for {
		n, err := m.make(p.config.Prepare)
		if err != nil {
			m.wait(p.failed, err)
		} else {
			for n != nil {
				select {
				case p.ready <- n:
					n = nil
				case r := <-p.requests:
					m.serve(r)
				case <-p.ctx.Done():
					n.Close()
					return
				}
			}
		}
		if p.ctx.Err() != nil {
			return
		}
	}
}

// wait hands a failure to those who ask for a network, for a while.
func (m *maker) wait(to chan<- error, err error) {
	old := time.NewTimer(failureAge)
	defer old.Stop()
	for {
		select {
		case to <- err:
		case r := <-m.pool.requests:
			m.serve(r)
		case <-old.C:
			return
		case <-m.pool.ctx.Done():
			return
		}
	}
}

func (m *maker) serve(r request) {
	n, err := m.make(r.class)
	r.result <- made{n, err}
}

func (m *maker) open() (err error) {
	if m.host, err = os.Open(ownSpace); err != nil {
		return err
	}
	if m.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("talk to the kernel about interfaces: %w", err)
	}
	if err := m.sweep(); err != nil {
		return err
	}
	return m.look()
}

func (m *maker) close() {
	if m.links != nil {
		m.links.Close()
	}
	if m.host != nil {
		_ = m.host.Close()
	}
}

// whole asks the kernel for a list again when it changed while it was told, as it does where other nodes start sandboxes.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range 20 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// sweep removes interfaces of the block that an earlier node left and the kernel has not taken away yet.
func (m *maker) sweep() error {
	links, err := whole(m.links.LinkList)
	if err != nil {
		return fmt.Errorf("list the interfaces of the host: %w", err)
	}
	for _, l := range links {
		name, prefix := l.Attrs().Name, m.pool.block.name()+"-"
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			if err := m.links.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("remove the interface %s: %w", name, err)
			}
		}
	}
	return nil
}

// look finds the interfaces that lead out, lets them forward and installs the rules, which know them.
func (m *maker) look() error {
	p := m.pool
	m.looked = time.Now()
	names, mtu, err := uplinks(m.links)
	if err != nil {
		return err
	}
	router, err := isOn(forwardAll)
	if err != nil {
		return err
	}
	known := m.names != nil && slices.Equal(names, m.names) && router == m.router
	if m.mtu = mtu; known && (router || forwarding(names)) {
		return nil
	}
	release, err := p.claims.alone(p.ctx)
	if err != nil {
		return err
	}
	defer release()
	var ours, off []string
	if !router { // a host that is one forwards because somebody wants it to
		if ours, off, err = p.claims.forwarding(names); err != nil {
			return err
		}
	}
	// The rules come first: what forwards is guarded at no time.
	rules := filter{block: p.block, policy: p.config.Policy, guarded: slices.Concat(ours, off), most: mostTracked}
	if err := rules.install(); err != nil {
		bounded := err
		rules.most = 0
		if err := rules.install(); err != nil {
			return err
		}
		p.log.Warn("sandboxes may fill the host's table of connections: the kernel may lack nft_connlimit", slog.Any("err", bounded))
	}
	if err := p.claims.forward(ours, off); err != nil {
		return err
	}
	m.names, m.router = append([]string{}, names...), router
	return nil
}

// make makes a network. The thread is in the host's namespace before and after.
func (m *maker) make(class Class) (_ *Network, err error) {
	p := m.pool
	if class != Node && time.Since(m.looked) > lookPause {
		if err := m.look(); err != nil {
			p.log.Warn("the host's interfaces are not known", slog.String("err", err.Error()))
		}
	}
	host, err := p.address(class)
	if err != nil {
		return nil, err
	}
	n := newNetwork(p.ctx, p.service, class, nth(p.block.prefix.Addr(), host), func() { p.giveBack(class, host) })
	n.link = p.block.link(host)
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	err = m.furnish(n)
	if back := unix.Setns(int(m.host.Fd()), unix.CLONE_NEWNET); back != nil {
		p.quit() // a thread that is lost makes nothing any more
		return nil, errors.Join(err, fmt.Errorf("return from a network namespace: %w", back))
	}
	if err == nil && class != Node {
		err = m.attach(n)
	}
	if err != nil {
		return nil, fmt.Errorf("make a network: %w", err)
	}
	n.serve()
	return n, nil
}

// furnish does what is done from inside: the loopback, the ports on it, and the pair that leads to the host.
func (m *maker) furnish(n *Network) (err error) {
	if n.space, err = os.Open(ownSpace); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback: %w", err)
	}
	if err := h.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set the loopback up: %w", err)
	}
	if err := n.listen(); err != nil || n.class == Node {
		return err
	}
	err = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // it does not exist where the kernel has no IPv6
		return err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: inside, HardwareAddr: hardware, MTU: m.mtu},
		PeerName:  n.link, PeerHardwareAddr: hardware, PeerMTU: uint32(m.mtu), PeerNamespace: netlink.NsFd(m.host.Fd()),
	}
	if err := h.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a pair of virtual interfaces: %w", err)
	}
	end, err := h.LinkByName(inside)
	if err != nil {
		return err
	}
	if err := h.LinkSetARPOff(end); err != nil {
		return fmt.Errorf("silence %s: %w", inside, err)
	}
	if err := h.AddrAdd(end, &netlink.Addr{IPNet: ipNet(single(n.addr))}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", inside, n.addr, err)
	}
	if err := h.LinkSetUp(end); err != nil {
		return fmt.Errorf("set %s up: %w", inside, err)
	}
	err = h.RouteAdd(&netlink.Route{LinkIndex: end.Attrs().Index, Gw: m.pool.block.gateway().AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
	if err != nil {
		return fmt.Errorf("route the way out: %w", err)
	}
	return nil
}

// attach does what is done from the host's side.
func (m *maker) attach(n *Network) error {
	end, err := m.links.LinkByName(n.link)
	if err != nil {
		return err
	}
	if err := m.links.LinkSetARPOff(end); err != nil {
		return err
	}
	if err := m.links.LinkSetIP6AddrGenMode(end, linkNone); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
		return err
	}
	if err := m.links.LinkSetUp(end); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: end.Attrs().Index, Dst: ipNet(single(n.addr)), Scope: netlink.SCOPE_LINK}
	if err := m.links.RouteReplace(route); err != nil {
		return fmt.Errorf("route to %s: %w", n.addr, err)
	}
	if err := os.WriteFile(forwardFile(n.link), []byte("1"), 0); err != nil {
		return fmt.Errorf("let the host forward packets: %w", err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// done is what the program says that has made a network. Everything else is what went wrong.
const done = "done"

// Join is the program that a [Rootless] starts in a new network, which it makes ready. args are the number of a descriptor,
// and a program with its arguments that takes the place of this one, without the privileges that this one has here. It
// returns when there is no such program, and when something is wrong.
func Join(args []string) error {
	if len(args) == 0 {
		return errors.New("this command is for the node, which runs it in new networks")
	}
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("the number of a descriptor: %w", err)
	}
	unix.CloseOnExec(fd)
	// Privileges belong to threads, and so does the wish to end with a parent. Those of the one that starts the program count.
	runtime.LockOSThread()
	p, err := readPlan(fd)
	var files []*os.File
	if err == nil {
		files, err = furnishOwn(p)
	}
	if err == nil {
		err = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	}
	if err == nil && os.Getppid() != p.Parent {
		err = errors.New("the node is gone")
	}
	if err != nil {
		return errors.Join(err, unix.Sendmsg(fd, []byte(err.Error()), nil, nil, unix.MSG_NOSIGNAL))
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := unix.Sendmsg(fd, []byte(done), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send the sockets of a network: %w", err)
	}
	runtime.KeepAlive(files)
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("run %s: %w", args[1], unix.Exec(args[1], args[1:], []string{}))
}

func readPlan(fd int) (p plan, err error) {
	b := make([]byte, largestPlan)
	size, err := unix.Read(fd, b)
	if err == nil {
		err = json.Unmarshal(b[:size], &p)
	}
	if err != nil {
		return p, fmt.Errorf("read the plan of a network: %w", err)
	}
	return p, nil
}

// furnishOwn makes the network of this process what the plan says, and returns its sockets.
func furnishOwn(p plan) ([]*os.File, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback: %w", err)
	}
	if err := h.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("set the loopback up: %w", err)
	}
	files, carrier, err := sockets(p)
	if err != nil || p.Class == Node {
		return files, err
	}
	// Programs look for an address that is no loopback's before they ask for names.
	if err := h.AddrAdd(loopback, &netlink.Addr{IPNet: ipNet(single(p.Addr))}); err != nil {
		return nil, fmt.Errorf("give the loopback the address %s: %w", p.Addr, err)
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	err = h.RouteAdd(&netlink.Route{
		LinkIndex: loopback.Attrs().Index, Dst: ipNet(everything), Src: p.Addr.AsSlice(), Scope: netlink.SCOPE_LINK,
	})
	if err != nil {
		return nil, fmt.Errorf("route everything to the loopback: %w", err)
	}
	return files, redirect(p, carrier)
}

// sockets opens the ports of the plan, and for networks that lead somewhere those of the name server and, in between, the one
// of carrier, which gets the connections to elsewhere.
func sockets(p plan) (files []*os.File, carrier uint16, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // the kernel tells of plain connections only where they were to go
	ctx := context.Background()   //nolint:forbidigo // nothing here waits
	open := func(addr netip.AddrPort) {
		if err != nil {
			return
		}
		var l net.Listener
		if l, err = config.Listen(ctx, "tcp", addr.String()); err != nil {
			return
		}
		defer l.Close()
		tcp, _ := l.(*net.TCPListener)
		if a, ok := tcp.Addr().(*net.TCPAddr); ok {
			carrier = a.AddrPort().Port() // that of the last one is wanted
		}
		var f *os.File
		if f, err = tcp.File(); err == nil {
			files = append(files, f)
		}
	}
	for _, at := range p.Ports {
		open(at)
	}
	if p.Class == Node {
		return files, 0, err
	}
	names := netip.AddrPortFrom(p.NameServer, 53)
	open(names)
	open(netip.AddrPortFrom(carrierAddr, 0))
	if err != nil {
		return nil, 0, fmt.Errorf("listen in a network: %w", err)
	}
	packets, err := config.ListenPacket(ctx, "udp4", names.String())
	if err != nil {
		return nil, 0, fmt.Errorf("listen in a network: %w", err)
	}
	defer packets.Close()
	udp, _ := packets.(*net.UDPConn)
	f, err := udp.File()
	return append(files, f), carrier, err
}

// redirect refuses what the plan refuses, and everything that is no connection, and leads the rest to the carrier's port.
func redirect(p plan, carrier uint16) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: namePrefix})
	b := builder{conn: c, table: t}
	b.refuse()
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	// Before the addresses are changed.
	judge := b.hook("judge", nftables.ChainHookOutput, nftables.ChainPriorityMangle, nftables.ChainTypeFilter)
	b.rule(judge, version(unix.NFPROTO_IPV6), accept()) // it has no route
	for _, here := range []netip.Prefix{loopback, single(p.Addr)} {
		b.rule(judge, within(destination, here), accept())
	}
	b.rule(judge, established(), accept())
	b.rule(judge, notProtocol(unix.IPPROTO_TCP), reject())
	for _, r := range p.Rules {
		matches := within(destination, r.To)
		if r.Port != 0 {
			matches = append(matches, tcpPort(r.Port)...)
		}
		if r.Allow {
			b.rule(judge, matches, accept())
		} else {
			b.rule(judge, matches, reject())
		}
	}
	lead := b.hook("lead", nftables.ChainHookOutput, nftables.ChainPriorityNATDest, nftables.ChainTypeNAT)
	b.rule(lead, version(unix.NFPROTO_IPV4), notWithin(destination, loopback), notWithin(destination, single(p.Addr)),
		protocol(unix.IPPROTO_TCP), []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(carrier)},
			&expr.Redir{RegisterProtoMin: 1},
		})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install the rules of nftables: %w", err)
	}
	return nil
}

package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readyTimeout = 20 * time.Second // of a program that opens sockets; on a busy machine its start takes longest
	mostSockets  = 250              // that one message of the kernel carries
	largestPlan  = 64 << 10         // bytes
)

// Rootless makes networks without privileges. It is safe for concurrent use.
type Rootless struct {
	config   Config
	service  *service
	verdicts []verdict
	ctx      context.Context //nolint:containedctx // ends with Close
	quit     context.CancelFunc

	mu   sync.Mutex
	next int
}

// plan is what the program inside is told.
type plan struct {
	Parent     int // the process that the program ends with
	Class      Class
	Addr       netip.Addr
	NameServer netip.Addr
	Ports      []netip.AddrPort
	Rules      []rule
}

// rule is what becomes of connections to a network, or to a port of it when Port is not 0.
type rule struct {
	To    netip.Prefix
	Port  uint16
	Allow bool
}

// OpenRootless tries a network. The error says what the host lacks. The caller closes it.
func OpenRootless(cfg Config) (_ *Rootless, err error) {
	r := &Rootless{config: cfg.complete()}
	if len(r.config.Join) == 0 {
		return nil, errors.New("no program is named that opens sockets in them")
	}
	if r.verdicts, err = cfg.Policy.verdicts(); err != nil {
		return nil, err
	}
	if len(cfg.Ports) > mostSockets-3 {
		return nil, fmt.Errorf("%d ports are more than %d", len(cfg.Ports), mostSockets-3)
	}
	r.service = newService(r.config)
	r.ctx, r.quit = context.WithCancel(context.Background()) //nolint:forbidigo // ended by Close
	if err := r.try(); err != nil {
		r.quit()
		return nil, err
	}
	return r, nil
}

// try makes a network in which nothing runs.
func (r *Rootless) try() error {
	n, err := r.Take(r.ctx, Internet)
	if err != nil {
		return err
	}
	defer n.Close()
	cmd := &exec.Cmd{Env: []string{}, SysProcAttr: &syscall.SysProcAttr{}}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := n.Start(cmd, cmd.Start); err != nil {
		return err
	}
	late := time.AfterFunc(readyTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err = n.Ready(r.ctx)
	_ = cmd.Wait() // what is wrong it has said
	if err != nil && said.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return err
}

// Take returns a network of a class, for one use. It comes into being with what is started in it. The caller closes it.
func (r *Rootless) Take(_ context.Context, class Class) (*Network, error) {
	if r.ctx.Err() != nil {
		return nil, errClosed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.config.Range.Masked()
	r.next = (r.next + 1) % (1<<(32-all.Bits()) - 2) // nobody shares a network: the addresses only tell them apart
	n := newNetwork(r.ctx, r.service, class, nth(all.Addr(), r.next+1), func() {})
	n.rootless = r
	return n, nil
}

// Describe says what the networks are like.
func (r *Rootless) Describe() (detail string, good bool) {
	return "each sandbox has one of its own, although Flint is not root: it reaches the API and the internet, not the host, other " +
		"sandboxes and private networks; TCP and names only, no IPv6", true
}

// Close ends what this process has in the networks.
func (r *Rootless) Close() error {
	r.quit()
	return nil
}

// Start has start fork cmd in the network. What it starts may not talk before Ready has returned.
func (n *Network) Start(cmd *exec.Cmd, start func() error) error {
	if n.rootless == nil {
		return n.Enter(start)
	}
	theirs, err := n.enlist(cmd)
	if err != nil {
		return err
	}
	err = start()
	_ = theirs.Close()
	return err
}

// enlist puts before the program of cmd the one that makes the network.
func (n *Network) enlist(cmd *exec.Cmd) (theirs *os.File, err error) {
	plan, err := json.Marshal(n.rootless.plan(n))
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs = os.NewFile(uintptr(pair[1]), "theirs")
	ours := os.NewFile(uintptr(pair[0]), "ours")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	n.helper, _ = c.(*net.UnixConn)
	if _, err := n.helper.Write(plan); err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	args := append([]string(nil), n.rootless.config.Join...)
	cmd.Path, cmd.Args = args[0], append(append(args, strconv.Itoa(2+len(cmd.ExtraFiles))), cmd.Args...)
	a := cmd.SysProcAttr
	a.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE} // in the new namespaces only
	return theirs, nil
}

// plan says what the network is to be.
func (r *Rootless) plan(n *Network) plan {
	p := plan{Parent: os.Getpid(), Class: n.class, Addr: n.addr, NameServer: r.config.NameServer}
	for _, port := range n.service.offered(n.class) {
		p.Ports = append(p.Ports, port.Addr)
	}
	if n.class == Node {
		return p
	}
	for _, a := range r.reach(n.class) {
		p.Rules = append(p.Rules, rule{To: single(a.Addr()), Port: a.Port(), Allow: true})
	}
	// What this process would refuse, and knows to refuse already, the kernel refuses inside: who connects is told at once.
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if p4, err := netip.ParsePrefix(a.String()); err == nil && p4.Addr().Is4() && !r.ownAllowed(p4.Addr()) {
			p.Rules = append(p.Rules, rule{To: single(p4.Addr())})
		}
	}
	for _, v := range r.verdicts {
		p.Rules = append(p.Rules, rule{To: v.to, Allow: v.allow})
	}
	return p
}

// Ready waits until the network stands, and begins to answer there.
func (n *Network) Ready(ctx context.Context) error {
	if n.helper == nil {
		return nil
	}
	defer func() {
		_ = n.helper.Close()
		n.helper = nil
	}()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(readyTimeout)
	}
	if err := n.helper.SetReadDeadline(deadline); err != nil {
		return err
	}
	b, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(4*mostSockets))
	size, control, _, _, err := n.helper.ReadMsgUnix(b, oob)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("make a network: %w", err)
	case err != nil || size == 0:
		return errors.New("make a network: what makes it ended without a word")
	case string(b[:size]) != done:
		return fmt.Errorf("make a network: %s", b[:size])
	}
	files, err := received(oob[:control])
	if err == nil {
		err = n.take(files)
	}
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	n.serve()
	return nil
}

// received returns the sockets of a message.
func received(control []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return files, nil
}

// take makes listeners of the sockets, which come in the order of [sockets].
func (n *Network) take(files []*os.File) error {
	serves := make([]func(context.Context, net.Conn), 0, len(files))
	for _, p := range n.service.offered(n.class) {
		serves = append(serves, p.Serve)
	}
	if n.class != Node {
		serves = append(serves, n.service.names.stream, n.carry)
	}
	if want := len(serves) + b2i(n.class != Node); len(files) != want {
		return fmt.Errorf("%d sockets came, want %d", len(files), want)
	}
	for i, serve := range serves {
		l, err := net.FileListener(files[i])
		if err != nil {
			return err
		}
		n.listeners = append(n.listeners, &listener{l, serve})
	}
	if n.class == Node {
		return nil
	}
	var err error
	n.names, err = net.FilePacketConn(files[len(serves)])
	return err
}

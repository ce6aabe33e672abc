package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// alone is set for the copy of these tests that has a network namespace to itself, which stands for a host.
const alone = "FLINT_TEST_NETWORK"

const patience = 10 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], joinArg) {
		args := os.Args[2:]
		if os.Args[1] != joinArg {
			args = nil
		}
		if err := Join(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(alone) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), alone+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a host with an uplink, and what lies beyond.
type world struct {
	dir  string
	far  *Network // only its space is used
	port uint16   // on every address out there, somebody says who calls
}

const (
	hostAddr    = "198.51.100.1"
	farAddr     = "198.51.100.2"
	privateAddr = "10.77.0.2"
	cloudAddr   = "169.254.169.254"
)

// newWorld builds it in the test's own namespace, and takes it down after the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(alone) == "" {
		t.Skip("only root can make networks")
	}
	w := &world{dir: t.TempDir()}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	check(t, err)
	t.Cleanup(h.Close)
	lo, err := h.LinkByName("lo")
	check(t, err)
	check(t, h.LinkSetUp(lo))
	check(t, os.WriteFile(forwardAll, []byte("0"), 0))

	host, err := os.Open(ownSpace)
	check(t, err)
	t.Cleanup(func() { _ = host.Close() })
	w.far = &Network{}
	stay := make(chan error)
	go func() { // makes the namespace on a thread that is thrown away, and from which no other is made
		runtime.LockOSThread()
		stay <- func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, unix.Setns(int(host.Fd()), unix.CLONE_NEWNET)) }()
			w.far.space, err = os.Open(ownSpace)
			return err
		}()
	}()
	check(t, <-stay)
	t.Cleanup(func() { _ = w.far.space.Close() })
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0", MTU: 1400}, PeerName: "far0", PeerNamespace: netlink.NsFd(w.far.space.Fd())}
	check(t, h.LinkAdd(pair))
	t.Cleanup(func() { _ = h.LinkDel(pair) })
	configure(t, h, "up0", hostAddr+"/24")
	check(t, h.RouteAdd(&netlink.Route{LinkIndex: pair.Attrs().Index, Gw: net.ParseIP(farAddr)}))
	check(t, w.far.Enter(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		configure(t, h, "far0", farAddr+"/24", privateAddr+"/32", cloudAddr+"/32")
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			return err
		}
		w.port = greet(t, l)
		return nil
	}))
	return w
}

func configure(t *testing.T, h *netlink.Handle, link string, addrs ...string) {
	t.Helper()
	l, err := h.LinkByName(link)
	check(t, err)
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		check(t, err)
		check(t, h.AddrAdd(l, addr))
	}
	check(t, h.LinkSetUp(l))
}

// greet tells everybody who connects the address that they come from, and returns the port.
func greet(t *testing.T, l net.Listener) uint16 {
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hello(t.Context(), c)
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // it is one of TCP
}

func hello(_ context.Context, c net.Conn) {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	_, _ = io.WriteString(c, "hello "+host)
	_ = c.Close()
}

// call connects from a network, or from the host for nil, and returns what it is told.
func call(n *Network, addr string, port uint16) (said string, err error) {
	dial := func() error {
		c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(netip.MustParseAddr(addr), port).String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(c)
		said = string(b)
		return err
	}
	if n == nil {
		return said, dial()
	}
	err = n.Enter(dial)
	return said, err
}

func take(t *testing.T, p *Pool, c Class) *Network {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := p.Take(ctx, c)
	check(t, err)
	t.Cleanup(n.Close)
	return n
}

func TestNetwork(t *testing.T) {
	w := newWorld(t)
	hostListener, err := net.Listen("tcp4", "0.0.0.0:0")
	check(t, err)
	hostPort := greet(t, hostListener)
	named, err := net.Listen("tcp4", "0.0.0.0:0")
	check(t, err)
	namedPort := greet(t, named)
	at := func(addr string, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	}
	p, err := Open(Config{
		Dir: w.dir, Prepare: Internet,
		Ports: []Port{
			{Addr: at("127.0.0.1", 8080), Serve: hello},
			{Addr: at("127.0.0.1", 3128), Build: true, Serve: Relay(at("127.0.0.1", hostPort))},
		},
		Policy: Policy{
			Reach:      []netip.AddrPort{at(hostAddr, namedPort)},
			BuildReach: []netip.AddrPort{at(privateAddr, w.port)},
		},
	})
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	n, other, build, bare := take(t, p, Internet), take(t, p, Internet), take(t, p, Build), take(t, p, Node)
	var neighbour, own uint16
	check(t, other.Enter(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		if err == nil {
			neighbour = greet(t, l)
		}
		return err
	}))
	check(t, n.Enter(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			own = greet(t, l)
		}
		return err
	}))
	for _, tt := range []struct {
		name string
		from *Network
		addr string
		port uint16
		want string
		err  error
	}{
		{"its own loopback", n, "127.0.0.1", own, "hello 127.0.0.1", nil},
		{"the node", n, "127.0.0.1", 8080, "hello " + n.Addr().String(), nil},
		{"the node, from a bare one", bare, "127.0.0.1", 8080, "hello " + bare.Addr().String(), nil},
		{"the internet", n, farAddr, w.port, "hello " + hostAddr, nil},
		{"the internet, from a build", build, farAddr, w.port, "hello " + hostAddr, nil},
		{"the internet, from a bare one", bare, farAddr, w.port, "", unix.ENETUNREACH},
		{"a port of the host's loopback", n, "127.0.0.1", hostPort, "", unix.ECONNREFUSED},
		{"a port of the host", n, hostAddr, hostPort, "", unix.ECONNREFUSED},
		{"a port of the host that is named", n, hostAddr, namedPort, "hello " + n.Addr().String(), nil},
		{"a port of the gateway", n, p.block.gateway().String(), hostPort, "", unix.ECONNREFUSED},
		{"another sandbox", n, other.Addr().String(), neighbour, "", unix.ECONNREFUSED},
		{"a private network", n, privateAddr, w.port, "", unix.ECONNREFUSED},
		{"a private registry, from a build", build, privateAddr, w.port, "hello " + hostAddr, nil},
		{"another port of it", build, privateAddr, w.port + 1, "", unix.ECONNREFUSED},
		{"the cloud's metadata", n, cloudAddr, w.port, "", unix.ECONNREFUSED},
		{"the cloud's metadata, from a build", build, cloudAddr, w.port, "", unix.ECONNREFUSED},
		{"a proxy of builds", n, "127.0.0.1", 3128, "", unix.ECONNREFUSED},
		{"a proxy of builds, from a build", build, "127.0.0.1", 3128, "hello 127.0.0.1", nil},
		{"a sandbox, from the host", nil, other.Addr().String(), neighbour, "", unix.ECONNREFUSED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, err := call(tt.from, tt.addr, tt.port)
			if said != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s:%d said %q, %v, want %q, %v", tt.addr, tt.port, said, err, tt.want, tt.err)
			}
		})
	}
	t.Run("no IPv6 but the loopback's", func(t *testing.T) {
		check(t, n.Enter(func() error {
			b, err := os.ReadFile("/proc/thread-self/net/if_inet6")
			if s := strings.TrimSpace(string(b)); err == nil && (strings.Contains(s, "\n") || !strings.HasSuffix(s, "lo")) {
				t.Errorf("addresses of IPv6:\n%s", b)
			}
			return nil
		}))
	})
	t.Run("what fits the uplink", func(t *testing.T) {
		check(t, n.Enter(func() error {
			i, err := net.InterfaceByName(inside)
			if err == nil && i.MTU != 1400 {
				t.Errorf("the interface carries %d bytes, want the uplink's 1400", i.MTU)
			}
			return err
		}))
	})
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	// Two name servers: one that does not answer, and one that answers with the question.
	silent, err := net.ListenPacket("udp4", "127.0.0.2:53")
	check(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	server, err := net.ListenPacket("udp4", "127.0.0.3:53")
	check(t, err)
	t.Cleanup(func() { _ = server.Close() })
	go func() { // ends with the server
		b := make([]byte, 512)
		for {
			n, who, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo([]byte{0, 0, 'f', 'o', 'r', 'g', 'e', 'd'}, who) // not the number of the question
			_, _ = server.WriteTo(b[:n], who)
		}
	}()
	stream, err := net.Listen("tcp4", "127.0.0.3:53")
	check(t, err)
	greet(t, stream)
	resolv := filepath.Join(w.dir, "resolv.conf")
	check(t, os.WriteFile(resolv, []byte("search example\nnameserver 127.0.0.3\n"), 0o600))
	p, err := Open(Config{Dir: w.dir, Prepare: Internet, Resolv: resolv})
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	n := take(t, p, Internet)
	query := func() string {
		var answer string
		check(t, n.Enter(func() error {
			c, err := net.Dial("udp4", defaultNameServer+":53")
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c, "12 is this it?"); err != nil {
				return err
			}
			b := make([]byte, 512)
			l, err := c.Read(b)
			answer = string(b[:l])
			return err
		}))
		return answer
	}
	if got := query(); got != "12 is this it?" {
		t.Errorf("the answer is %q", got)
	}
	if said, err := call(n, defaultNameServer, 53); err != nil || said != "hello 127.0.0.1" {
		t.Errorf("over a connection the name server says %q, %v", said, err)
	}
	check(t, os.WriteFile(resolv, []byte("nameserver 127.0.0.2\nnameserver 127.0.0.3\n"), 0o600))
	if got := query(); got != "12 is this it?" {
		t.Errorf("the answer of the second server is %q", got)
	}
}

// left returns what pools have left on the host.
func left(t *testing.T, w *world) (found []string) {
	t.Helper()
	tables, err := installed()
	check(t, err)
	for n := range tables {
		found = append(found, fmt.Sprintf("table %d", n))
	}
	links, err := whole(netlink.LinkList)
	check(t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, namePrefix) {
			found = append(found, "interface "+l.Attrs().Name)
		}
	}
	if on, err := isOn(forwardFile("up0")); err != nil || on {
		found = append(found, "forwarding of up0")
	}
	if _, err := os.Stat(filepath.Join(w.dir, forwarders)); err == nil {
		found = append(found, "the list of forwarding interfaces")
	}
	return found
}

func TestLeftovers(t *testing.T) {
	w := newWorld(t)
	first, err := Open(Config{Dir: w.dir, Prepare: Internet})
	check(t, err)
	second, err := Open(Config{Dir: w.dir, Prepare: Node})
	check(t, err)
	if first.block == second.block {
		t.Errorf("two nodes have the block %v", first.block)
	}
	n := take(t, first, Internet)
	n.Close()
	check(t, first.Close())
	if on, err := isOn(forwardFile("up0")); err != nil || !on {
		t.Errorf("the uplink forwards: %v, %v; another node needs it", on, err)
	}
	if _, err := first.Take(t.Context(), Internet); !errors.Is(err, errClosed) {
		t.Errorf("Take() of a closed pool = %v", err)
	}
	check(t, second.Close())
	awaitNothing(t, w)
}

// awaitNothing waits for the kernel, which takes namespaces away in its own time.
func awaitNothing(t *testing.T, w *world) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		found := left(t, w)
		if len(found) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("left: %v", found)
		}
	}
}

func TestKilled(t *testing.T) {
	w := newWorld(t)
	dead, err := Open(Config{Dir: w.dir, Prepare: Internet})
	check(t, err)
	// What a node that is killed leaves: its rules and forwarding, and locks that the kernel opens.
	dead.quit()
	<-dead.gone
	check(t, dead.lock.Close())
	check(t, filter{block: block{7, netip.MustParsePrefix("198.18.28.0/22")}}.install())
	p, err := Open(Config{Dir: w.dir, Prepare: Internet})
	check(t, err)
	if tables, err := installed(); err != nil || len(tables) != 1 || p.block.number != 0 {
		t.Errorf("the next node has block %d and finds the tables %v, %v", p.block.number, tables, err)
	}
	said, err := call(take(t, p, Internet), farAddr, w.port)
	if said != "hello "+hostAddr {
		t.Errorf("out there said %q, %v", said, err)
	}
	dead.empty()
	check(t, p.Close())
}

func TestForwardingOfOthers(t *testing.T) {
	w := newWorld(t)
	p, err := Open(Config{Dir: w.dir, Prepare: Node})
	check(t, err)
	check(t, os.WriteFile(forwardAll, []byte("1"), 0)) // somebody makes the host a router
	check(t, p.Close())
	if on, err := isOn(forwardFile("up0")); err != nil || !on {
		t.Errorf("the forwarding of a router was switched off: %v", err)
	}
	check(t, os.WriteFile(forwardAll, []byte("0"), 0))
}

// TestBound has a sandbox make more connections than it may.
func TestBound(t *testing.T) {
	w := newWorld(t)
	p, err := Open(Config{Dir: w.dir, Prepare: Internet})
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	n, other := take(t, p, Internet), take(t, p, Internet)
	const most = 5
	check(t, filter{block: p.block, policy: p.config.Policy, most: most}.install())
	if said, err := call(n, farAddr, w.port); err != nil {
		t.Errorf("the first connection is told %q, %v", said, err)
	}
	check(t, n.Enter(func() error {
		for range most { // each is remembered for a while, because nobody says that it has ended
			c, err := net.Dial("udp4", netip.AddrPortFrom(netip.MustParseAddr(farAddr), w.port).String())
			if err != nil {
				return err
			}
			if _, err := io.WriteString(c, "once"); err != nil {
				return err
			}
			_ = c.Close()
		}
		return nil
	}))
	var said string
	for late := time.Now().Add(patience); err == nil && time.Now().Before(late); { // packets of other processors overtake
		said, err = call(n, farAddr, w.port)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("one connection too many is told %q, %v", said, err)
	}
	if said, err := call(other, farAddr, w.port); err != nil {
		t.Errorf("a neighbour is told %q, %v", said, err)
	}
}

func BenchmarkMake(b *testing.B) {
	if os.Getenv(alone) == "" {
		b.Skip("only root can make networks")
	}
	for _, class := range []Class{Node, Internet} {
		b.Run(fmt.Sprint(class), func(b *testing.B) {
			p, err := Open(Config{Dir: b.TempDir(), Prepare: class, Ready: 1})
			if err != nil {
				b.Fatal(err)
			}
			var before, after unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
			for b.Loop() {
				n, err := p.Take(b.Context(), class)
				if err != nil {
					b.Fatal(err)
				}
				n.Close()
			}
			_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/1e6/float64(b.N), "cpu-ms/op")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// joinArg makes this test program the one that a Rootless starts.
const joinArg = "join-network"

// inhabit starts a program in a network, so that it comes into being, and lets the test enter it.
func inhabit(t *testing.T, r *Rootless, c Class) *Network {
	t.Helper()
	n, err := r.Take(t.Context(), c)
	check(t, err)
	t.Cleanup(n.Close)
	cmd := exec.Command("/bin/sh", "-c", "echo; exec /bin/sleep 1000")
	cmd.Env, cmd.SysProcAttr = []string{}, &syscall.SysProcAttr{}
	said, err := cmd.StdoutPipe()
	check(t, err)
	check(t, n.Start(cmd, cmd.Start))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, n.Ready(ctx))
	_, err = said.Read(make([]byte, 1)) // the program runs
	check(t, err)
	n.space, err = os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net")
	check(t, err)
	return n
}

func TestRootless(t *testing.T) {
	w := newWorld(t)
	at := func(addr string, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	}
	hostPort, namedPort := greetAnywhere(t), greetAnywhere(t)
	r, err := OpenRootless(Config{
		Join: []string{"/proc/self/exe", joinArg},
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
	t.Cleanup(func() { check(t, r.Close()) })
	n, other, build, bare := inhabit(t, r, Internet), inhabit(t, r, Internet), inhabit(t, r, Build), inhabit(t, r, Node)
	var neighbour uint16
	check(t, other.Enter(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		if err == nil {
			neighbour = greet(t, l)
		}
		return err
	}))
	const late = "198.51.100.77" // the host has it only when the networks stand
	up, err := netlink.LinkByName("up0")
	check(t, err)
	addr, err := netlink.ParseAddr(late + "/32")
	check(t, err)
	check(t, netlink.AddrAdd(up, addr))
	for _, tt := range []struct {
		name string
		from *Network
		addr string
		port uint16
		want string
		err  error
	}{
		{"itself", other, other.Addr().String(), neighbour, "hello " + other.Addr().String(), nil},
		{"the node", n, "127.0.0.1", 8080, "hello " + n.Addr().String(), nil},
		{"the node, from a bare one", bare, "127.0.0.1", 8080, "hello " + bare.Addr().String(), nil},
		{"the internet", n, farAddr, w.port, "hello " + hostAddr, nil},
		{"the internet, from a build", build, farAddr, w.port, "hello " + hostAddr, nil},
		{"the internet, from a bare one", bare, farAddr, w.port, "", unix.ENETUNREACH},
		{"where nobody listens", n, farAddr, 9, "", unix.ECONNRESET},
		{"a port of the host's loopback", n, "127.0.0.1", hostPort, "", unix.ECONNREFUSED},
		{"a port of the host", n, hostAddr, hostPort, "", unix.ECONNREFUSED},
		{"a port of the host, at an address that is new", n, late, hostPort, "", unix.ECONNRESET},
		{"a port of the host that is named", n, hostAddr, namedPort, "hello " + hostAddr, nil},
		{"another sandbox", n, other.Addr().String(), neighbour, "", unix.ECONNREFUSED},
		{"a private network", n, privateAddr, w.port, "", unix.ECONNREFUSED},
		{"a private registry, from a build", build, privateAddr, w.port, "hello " + hostAddr, nil},
		{"another port of it", build, privateAddr, w.port + 1, "", unix.ECONNREFUSED},
		{"the cloud's metadata", n, cloudAddr, w.port, "", unix.ECONNREFUSED},
		{"a proxy of builds", n, "127.0.0.1", 3128, "", unix.ECONNREFUSED},
		{"a proxy of builds, from a build", build, "127.0.0.1", 3128, "hello 127.0.0.1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, err := call(tt.from, tt.addr, tt.port)
			if said != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s:%d said %q, %v, want %q, %v", tt.addr, tt.port, said, err, tt.want, tt.err)
			}
		})
	}
	t.Run("packets", func(t *testing.T) {
		check(t, n.Enter(func() error {
			c, err := net.Dial("udp4", farAddr+":9")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := io.WriteString(c, "is anybody there?"); !errors.Is(err, unix.EPERM) {
				t.Errorf("sending a packet = %v, want a refusal", err)
			}
			return nil
		}))
	})
	t.Run("the carrier itself", func(t *testing.T) {
		port := n.listeners[len(n.listeners)-1].Addr().(*net.TCPAddr).AddrPort().Port() //nolint:forcetypeassert // it is one of TCP
		if said, err := call(n, "127.0.0.1", port); said != "" || err == nil {
			t.Errorf("it says %q, %v", said, err)
		}
	})
}

func greetAnywhere(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	check(t, err)
	return greet(t, l)
}

func TestRootlessFails(t *testing.T) {
	if os.Getenv(alone) == "" {
		t.Skip("only root runs this copy of the test")
	}
	for want, join := range map[string][]string{
		"no program is named":     nil,
		"no such file":            {"/no/such/program"},
		"ended without a word":    {"/bin/true"},
		"it is broken":            {"/bin/sh", "-c", "echo it is broken >&2"},
		"the node, which runs it": {os.Args[0], joinArg + "-without-a-number"},
	} {
		if r, err := OpenRootless(Config{Join: join}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenRootless() with %v = %v, %v, want an error with %q", join, r, err, want)
		}
	}
}

func TestPermits(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort
	policy := Policy{
		Allow: prefixes("10.5.0.0/16", "192.0.2.1/32", "127.0.0.1/32"), Deny: prefixes("1.2.3.0/24"),
		Reach: []netip.AddrPort{at("10.9.9.9:443")}, BuildReach: []netip.AddrPort{at("192.0.2.2:3128")},
	}
	all, err := policy.verdicts()
	check(t, err)
	r := &Rootless{config: Config{Policy: policy}, verdicts: all}
	for _, tt := range []struct {
		to    string
		by    way
		class Class
		want  bool
	}{
		{"1.1.1.1:443", away, Internet, true},
		{"1.1.1.1:443", toItself, Internet, false}, // whatever the address is, here it is the host's
		{"1.1.1.1:443", nowhere, Internet, false},
		{"1.2.3.4:443", away, Internet, false},
		{"10.5.0.1:5432", away, Internet, true},
		{"10.5.0.1:5432", toItself, Internet, false},
		{"10.6.0.1:5432", away, Internet, false},
		{"10.9.9.9:443", away, Internet, true},
		{"10.9.9.9:444", away, Internet, false},
		{"192.0.2.1:80", toItself, Internet, true},
		{"192.0.2.2:3128", toItself, Internet, false},
		{"192.0.2.2:3128", toItself, Build, true},
		{"127.0.0.1:80", toItself, Internet, false},
		{"169.254.169.254:80", away, Build, false},
	} {
		if got := r.permits(tt.class, at(tt.to), tt.by); got != tt.want {
			t.Errorf("permits(%v, %s, %v) = %v, want %v", tt.class, tt.to, tt.by, got, tt.want)
		}
	}
}

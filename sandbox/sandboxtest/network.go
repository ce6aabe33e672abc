package sandboxtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"flint/sandbox"
)

// connect is a script that connects to $1, port $2, and prints what it is told.
const connect = `exec bash -c 'exec 3<>"/dev/tcp/$0/$1" && exec timeout 20 cat <&3' "$1" "$2" 2>&1`

// network tests the networks that a sandbox may have to itself.
func (s *suite) network(t *testing.T) {
	own := []sandbox.Network{sandbox.NetworkNode, sandbox.NetworkInternet, sandbox.NetworkBuild}
	if !s.caps.Network {
		if !s.caps.Isolation {
			t.Skip("this driver isolates nothing")
		}
		for _, n := range own {
			spec := s.spec("true")
			spec.Network = n
			if box, err := s.driver.Start(t.Context(), spec); !errors.Is(err, sandbox.ErrNoNetwork) {
				t.Errorf("Start() with network %s = %v, %v, want ErrNoNetwork", n, box, err)
			}
		}
		return
	}
	port, addrs := s.listenOnHost(t)
	neighbour := s.listenInSandbox(t)
	for _, n := range own {
		t.Run(n.String(), func(t *testing.T) {
			reach := func(addr string, port int) string {
				spec := s.spec(connect, addr, fmt.Sprint(port))
				spec.Network = n
				return s.run(t, spec).out
			}
			if got := reach("127.0.0.1", nodePort); got != nodeSays {
				t.Errorf("the node answers %q", got)
			}
			for _, a := range addrs {
				if got := reach(a, port); strings.Contains(got, hostSays) {
					t.Errorf("the sandbox reaches a port of the host at %s: %s", a, got)
				}
			}
			if got := reach(neighbour, neighbourPort); !refused.MatchString(got) {
				t.Errorf("the sandbox reaches its neighbour at %s: %s", neighbour, got)
			}
			for _, a := range []string{"169.254.169.254", "100.100.100.200", "10.255.255.1", "192.168.255.1"} {
				if got := reach(a, 80); !refused.MatchString(got) {
					t.Errorf("the sandbox reaches %s: %s", a, got)
				}
			}
			spec := s.spec(`perl -MIO::Socket::INET -e '
				my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0) or die $@;
				IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $l->sockport) or die $@;
				print "its own loopback"'`)
			spec.Network = n
			if got := s.run(t, spec).out; got != "its own loopback" {
				t.Errorf("the loopback of the sandbox: %q", got)
			}
			if n == sandbox.NetworkNode || os.Geteuid() != 0 {
				return
			}
			spec = s.spec("getent ahostsv4 name.example")
			spec.Network = n
			if got := s.run(t, spec); !strings.HasPrefix(got.out, nameAddr+" ") {
				t.Errorf("the address of a name is %q %s, want %s", got.out, got.err, nameAddr)
			}
		})
	}
}

// refused is what bash says of what cannot be reached.
var refused = regexp.MustCompile("refused|unreachable|No route to host|prohibited")

const hostSays = "the host is here"

// listenOnHost opens a port that sandboxes must not reach, and returns the addresses that it could be reached at.
func (s *suite) listenOnHost(t *testing.T) (port int, addrs []string) {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0") // every address is the point
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(hostSays))
			_ = c.Close()
		}
	}()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			addrs = append(addrs, n.IP.String())
		}
	}
	return l.Addr().(*net.TCPAddr).Port, addrs //nolint:forcetypeassert // it is one of TCP
}

const neighbourPort = 4711

// listenInSandbox starts a sandbox that listens, and returns its address.
func (s *suite) listenInSandbox(t *testing.T) string {
	t.Helper()
	said, out := newLines(t)
	spec := s.spec(`exec perl -MIO::Socket::INET -e '
		$| = 1;
		my $l = IO::Socket::INET->new(Listen => 5, LocalPort => ` + fmt.Sprint(neighbourPort) + `) or die $@;
		print IO::Socket::INET->new(Proto => "udp", PeerAddr => "203.0.113.1", PeerPort => 9)->sockhost, "\n";
		while (my $c = $l->accept) { print $c "the neighbour is here" }'`)
	spec.Network, spec.Stdout, spec.Stderr = sandbox.NetworkInternet, out, out
	s.start(t, spec)
	addr := said.next(t)
	if net.ParseIP(addr) == nil {
		t.Fatalf("the address of the neighbour is %q", addr)
	}
	return addr
}

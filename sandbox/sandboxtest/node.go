package sandboxtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"flint/internal/network"
)

// JoinArg makes a test program what networks configured by [Networks] start inside: its TestMain calls [Join].
const JoinArg = "join-network"

// Join does so, and does not return then.
func Join() {
	if len(os.Args) < 2 || os.Args[1] != JoinArg {
		return
	}
	if err := network.Join(os.Args[2:]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// What networks configured by [Networks] have to find.
const (
	nodePort = 8080 // of the loopback, where the node answers with nodeSays
	nodeSays = "the node is here"
	nameAddr = "203.0.113.77" // of every name
)

// Networks configures networks whose node answers at a port, and in which every name has one address.
func Networks(t testing.TB) *network.Config {
	t.Helper()
	cfg := &network.Config{
		Prepare: network.Internet,
		Ports: []network.Port{{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), nodePort), Serve: func(_ context.Context, c net.Conn) {
			_, _ = io.WriteString(c, nodeSays)
			_ = c.Close()
		}}},
	}
	if os.Geteuid() != 0 {
		cfg.Join = []string{"/proc/self/exe", JoinArg}
		return cfg // nobody else may listen at the port of name servers
	}
	server := nameServer(t)
	go answerNames(server) // ends with the server
	cfg.Resolv = filepath.Join(t.TempDir(), "resolv.conf")
	text := "nameserver " + server.LocalAddr().(*net.UDPAddr).IP.String() + "\n" //nolint:forcetypeassert // it is one of UDP
	if err := os.WriteFile(cfg.Resolv, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// nameServer listens on an address of the loopback that no other test has.
func nameServer(t testing.TB) net.PacketConn {
	t.Helper()
	var err error
	for i := range 100 {
		var server net.PacketConn
		if server, err = net.ListenPacket("udp4", fmt.Sprintf("127.86.86.%d:53", 53+i)); err == nil {
			t.Cleanup(func() { _ = server.Close() })
			return server
		}
	}
	t.Fatal(err)
	return nil
}

func answerNames(server net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, who, err := server.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil {
			continue
		}
		m.Response, m.Additionals = true, nil
		for _, q := range m.Questions {
			if q.Type == dnsmessage.TypeA {
				a := netip.MustParseAddr(nameAddr).As4()
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a},
				})
			}
		}
		if answer, err := m.Pack(); err == nil {
			_, _ = server.WriteTo(answer, who)
		}
	}
}

package network

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// defaultNameServer is a loopback address: nothing routes it.
const defaultNameServer = "127.0.0.53"

const (
	resolvConf      = "/etc/resolv.conf"
	mostServers     = 3 // that are asked, as the host's own library does
	mostQueries     = 64
	queryTimeout    = 3 * time.Second  // of one server
	exchangeTimeout = 30 * time.Second // of a connection
	largestAnswer   = 8 << 10          // bytes; larger ones come over a connection
)

// resolver passes questions on to the name servers of the host, as they are. The host's are often on its own loopback or
// in a private network, which sandboxes do not reach.
type resolver struct {
	file string

	mu      sync.Mutex
	read    time.Time // when the file was changed that was read
	size    int64
	servers []netip.AddrPort
}

func newResolver(file string) *resolver { return &resolver{file: file} }

// upstream returns the host's name servers.
func (r *resolver) upstream() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.file)
	if err == nil && (r.servers == nil || !info.ModTime().Equal(r.read) || info.Size() != r.size) {
		r.read, r.size, r.servers = info.ModTime(), info.Size(), parseServers(r.file)
	}
	if len(r.servers) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)} // as the library does
	}
	return r.servers
}

func parseServers(file string) (found []netip.AddrPort) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(found) < mostServers {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			found = append(found, netip.AddrPortFrom(a, 53))
		}
	}
	return found
}

// answer serves questions that come in packets until in is closed, and returns when all have ended.
func (r *resolver) answer(ctx context.Context, in net.PacketConn) {
	var asking sync.WaitGroup
	defer asking.Wait()
	room := make(chan struct{}, mostQueries)
	buffer := make([]byte, largestAnswer)
	for {
		n, who, err := in.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			continue // the error of an earlier answer that was not wanted any more
		}
		select {
		case room <- struct{}{}:
		default:
			continue // it asks again, or gives up
		}
		question := append([]byte(nil), buffer[:n]...)
		asking.Go(func() {
			defer func() { <-room }()
			for _, server := range r.upstream() {
				if answer := ask(ctx, server, question); answer != nil {
					_, _ = in.WriteTo(answer, who) // who asked may have gone
					return
				}
			}
		})
	}
}

// ask returns the answer of a server, or nil.
func ask(ctx context.Context, server netip.AddrPort, question []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := c.Write(question); err != nil {
		return nil
	}
	answer := make([]byte, largestAnswer)
	for {
		n, err := c.Read(answer)
		if err != nil {
			return nil
		}
		if n >= 2 && n < len(answer) && len(question) >= 2 && answer[0] == question[0] && answer[1] == question[1] {
			return answer[:n]
		}
	}
}

// stream serves questions that come over a connection.
func (r *resolver) stream(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	relay(ctx, c, r.upstream()[0])
}

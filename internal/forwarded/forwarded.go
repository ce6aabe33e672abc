// Package forwarded finds out what a request was before proxies passed it on: whose it is and how it came. Only proxies
// that are trusted are believed.
package forwarded

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Rules say whom to believe. The zero value believes nobody.
type Rules struct {
	Proxies []netip.Prefix // whose headers are believed
	Headers []string       // that name the client, most trusted first; a list in one of them is read from its end
}

// Client returns the address of the client: the connection's, or the last one in a believed header that is no proxy of
// ours. Each proxy adds whom it was asked by, so what is further to the left is the client's own word. When all are
// ours, the first of them asked.
func (r Rules) Client(req *http.Request) string {
	peer, ok := peerOf(req)
	if !ok {
		return req.RemoteAddr
	}
	if !r.trusted(peer) {
		return written(peer, req)
	}
	for _, name := range r.Headers {
		values := req.Header.Values(name)
		if len(values) == 0 {
			continue
		}
		list := strings.Split(strings.Join(values, ","), ",")
		first, found := netip.Addr{}, false
		for _, text := range slices.Backward(list) {
			a, ok := parse(text)
			if !ok {
				continue
			}
			if !r.trusted(a) {
				return a.String()
			}
			first, found = a, true
		}
		if found {
			return first.String()
		}
	}
	return written(peer, req)
}

// written is peer.String(), taken from the request if it is there: IPv4 has one form.
func written(peer netip.Addr, req *http.Request) string {
	if host, _, found := strings.Cut(req.RemoteAddr, ":"); found && peer.Is4() && host != "[" {
		return host
	}
	return peer.String()
}

// Secure reports whether the client's own connection was encrypted.
func (r Rules) Secure(req *http.Request) bool {
	if req.TLS != nil {
		return true
	}
	return strings.EqualFold(r.Scheme(req), "https")
}

// Scheme returns what a trusted proxy says of the client's connection, or nothing.
func (r Rules) Scheme(req *http.Request) string {
	return strings.ToLower(r.word(req, "X-Forwarded-Proto"))
}

// Host returns the host that the client asked: what a trusted proxy says, or else the request's own.
func (r Rules) Host(req *http.Request) string {
	if host := r.word(req, "X-Forwarded-Host"); host != "" {
		return host
	}
	return req.Host
}

// word returns the first word of a header, if it is a trusted proxy's.
func (r Rules) word(req *http.Request, header string) string {
	value := req.Header.Get(header)
	if value == "" {
		return ""
	}
	if peer, ok := peerOf(req); !ok || !r.trusted(peer) {
		return ""
	}
	first, _, _ := strings.Cut(value, ",")
	return strings.TrimSpace(first)
}

func (r Rules) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(r.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// peerOf is who has opened the connection.
func peerOf(req *http.Request) (netip.Addr, bool) {
	if a, err := netip.ParseAddrPort(req.RemoteAddr); err == nil { // as servers write it
		return a.Addr().Unmap().WithZone(""), true
	}
	return parse(req.RemoteAddr)
}

// parse reads an address, with or without a port, in any of the forms that proxies write.
func parse(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Unmap().WithZone(""), true
	}
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		host = strings.Trim(text, "[]")
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap().WithZone(""), err == nil
}

// Loopback reports whether a host is this machine, which has several names.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

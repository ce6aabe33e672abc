// Package outward makes connections for strangers: to the internet, and not to this machine or to networks around it. What
// decides is the address that is connected to, whatever name it was found by.
package outward

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Policy says what is reached beside the internet.
type Policy struct {
	Allow []netip.Prefix
}

// RefusedError is the error of an address that is not to be reached.
type RefusedError struct{ Addr netip.Addr }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the address %s is of this machine, a private network or a reserved one", e.Addr)
}

// inward are the networks that a stranger has no business in. IPv6 has several ways of writing an address of IPv4.
func inward() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128", // the host
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", // private, and behind a provider's translation
		"169.254.0.0/16", "168.63.129.16/32", "192.0.0.0/24", "fe80::/10", "fec0::/10", // of the link and of clouds: metadata, credentials
		"198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "100::/64", // benchmarks, examples, nowhere
		"224.0.0.0/4", "240.0.0.0/4", "ff00::/8", // to many, and reserved
		"64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", // of IPv4
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// Check returns an error for an address that is not to be reached.
func (p Policy) Check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	holds := func(n netip.Prefix) bool { return n.Contains(a) }
	if !a.IsValid() || (slices.ContainsFunc(inward(), holds) || own(a)) && !slices.ContainsFunc(p.Allow, holds) {
		return &RefusedError{a}
	}
	return nil
}

// own reports whether an address is one of this machine, also a public one: what listens there may trust what comes from inside.
// When the machine does not tell, none is.
func own(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(o net.Addr) bool {
		n, ok := o.(*net.IPNet)
		if !ok {
			return false
		}
		mine, ok := netip.AddrFromSlice(n.IP)
		return ok && mine.Unmap() == a
	})
}

// Dialer returns a dialer that refuses such addresses after names have been looked up.
func (p Policy) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %q: %w", address, err)
		}
		return p.Check(to.Addr())
	}}
}

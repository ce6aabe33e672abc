package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Policy says what networks of classes Internet and Build reach beside the internet. IPv4 only.
type Policy struct {
	// Allow and Deny are added to what is denied by default. Of all prefixes that hold an address the longest decides;
	// of equal ones the denied. An address of the host itself is reached only if it is allowed by a prefix of its own,
	// one of 32 bits.
	Allow, Deny []netip.Prefix
	// Reach is reached over TCP whatever the prefixes say, and BuildReach from networks of class Build alone.
	Reach, BuildReach []netip.AddrPort
}

// mostPrefixes bounds the rules that a packet of a new connection passes.
const mostPrefixes = 256

// denied are the networks that a stranger's code has no business in: the host's neighbourhood, not the internet.
func denied() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "127.0.0.0/8", // the host
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", // private, and behind a provider's translation
		"169.254.0.0/16", "168.63.129.16/32", "192.0.0.0/24", // of the link and of clouds: metadata, credentials
		"198.18.0.0/15",              // benchmarks, and what a node uses by default
		"224.0.0.0/4", "240.0.0.0/4", // to many, and reserved
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// verdict is what happens to connections to a prefix.
type verdict struct {
	to    netip.Prefix
	allow bool
}

// verdicts returns the policy in the order in which it is asked: the first that holds an address decides.
func (p Policy) verdicts() ([]verdict, error) {
	var all []verdict
	for _, d := range denied() {
		all = append(all, verdict{to: d})
	}
	for _, d := range p.Deny {
		all = append(all, verdict{to: d})
	}
	for _, a := range p.Allow {
		all = append(all, verdict{a, true})
	}
	if len(all) > mostPrefixes {
		return nil, fmt.Errorf("%d networks are allowed or denied, more than %d", len(all), mostPrefixes)
	}
	for _, v := range all {
		if !v.to.Addr().Is4() {
			return nil, fmt.Errorf("network %s is not one of IPv4: sandboxes have no IPv6", v.to)
		}
	}
	slices.SortStableFunc(all, func(a, b verdict) int {
		if c := cmp.Compare(b.to.Bits(), a.to.Bits()); c != 0 {
			return c
		}
		return b2i(a.allow) - b2i(b.allow)
	})
	return all, nil
}

// ownAddresses returns those of all that may be an address of the host: single ones that are allowed.
func ownAddresses(all []verdict) (single []netip.Prefix) {
	for i, v := range all {
		if v.allow && v.to.IsSingleIP() && !slices.Contains(all[:i], verdict{to: v.to}) {
			single = append(single, v.to)
		}
	}
	return single
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// permits asks the verdicts as the rules do.
func permits(all []verdict, a netip.Addr) bool {
	for _, v := range all {
		if v.to.Contains(a) {
			return v.allow
		}
	}
	return true
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		policy        Policy
		reach, refuse string
	}{
		{
			"the internet by default",
			Policy{},
			"1.1.1.1 203.0.113.9 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 198.17.0.1",
			"10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 0.0.0.0 169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192 198.18.0.9 224.0.0.1 255.255.255.255",
		},
		{"a part of what is denied", Policy{Allow: prefixes("10.5.0.0/16")}, "10.5.1.1", "10.6.1.1"},
		{"a part of that denied again", Policy{Allow: prefixes("10.5.0.0/16"), Deny: prefixes("10.5.7.0/24")}, "10.5.1.1", "10.5.7.1"},
		{"nothing but what is named", Policy{Allow: prefixes("1.2.3.0/24"), Deny: prefixes("0.0.0.0/0")}, "1.2.3.4", "1.1.1.1 10.0.0.1"},
		{"of equal ones the denied", Policy{Allow: prefixes("10.0.0.0/8", "1.2.3.4/32"), Deny: prefixes("1.2.3.4/32")}, "1.1.1.1", "10.0.0.1 1.2.3.4"},
		{"everything allowed lifts no default", Policy{Allow: prefixes("0.0.0.0/0")}, "1.1.1.1", "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all, err := tt.policy.verdicts()
			if err != nil {
				t.Fatal(err)
			}
			for want, list := range map[bool]string{true: tt.reach, false: tt.refuse} {
				for a := range strings.FieldsSeq(list) {
					if got := permits(all, netip.MustParseAddr(a)); got != want {
						t.Errorf("%s is let through: %v, want %v", a, got, want)
					}
				}
			}
		})
	}
	for _, p := range []Policy{{Allow: prefixes("fd00::/8")}, {Deny: make([]netip.Prefix, mostPrefixes)}} {
		if _, err := p.verdicts(); err == nil {
			t.Errorf("a policy with %d and %d networks was accepted", len(p.Allow), len(p.Deny))
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	all, err := Policy{Allow: prefixes("10.0.0.0/8", "10.0.0.5/32", "10.0.0.6/32"), Deny: prefixes("10.0.0.6/32")}.verdicts()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(prefixes("10.0.0.5/32"), ownAddresses(all), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("ownAddresses() (-want +got):\n%s", diff)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of, last, builders, gateway string
		n, hosts, builds            int
	}{
		{"198.18.0.0/16", "198.18.252.0/22", "198.18.255.128/25", "198.18.252.1", 64, 894, 127},
		{"10.9.0.0/20", "10.9.15.0/24", "10.9.15.224/27", "10.9.15.1", 16, 222, 31},
		{"10.9.8.0/24", "10.9.8.0/24", "10.9.8.224/27", "10.9.8.1", 1, 222, 31},
		{"10.0.0.0/12", "10.15.192.0/18", "10.15.248.0/21", "10.15.192.1", 64, 14334, 2047},
	} {
		all, err := blocks(netip.MustParsePrefix(tt.of))
		if err != nil {
			t.Fatal(err)
		}
		b := all[len(all)-1]
		got := []any{len(all), b.prefix.String(), b.builders().String(), b.gateway().String(), len(b.hosts(Internet)), len(b.hosts(Build))}
		if diff := cmp.Diff([]any{tt.n, tt.last, tt.builders, tt.gateway, tt.hosts, tt.builds}, got); diff != "" {
			t.Errorf("blocks(%s) (-want +got):\n%s", tt.of, diff)
		}
		for _, n := range b.hosts(Build) {
			if a := nth(b.prefix.Addr(), n); !b.builders().Contains(a) {
				t.Errorf("the address %s of a build is not in %s", a, b.builders())
			}
		}
		if name := b.link(9999); len(name) > 15 {
			t.Errorf("interface name %q is too long", name)
		}
	}
	for _, bad := range []string{"10.0.0.0/25", "10.0.0.0/11", "fd00::/16"} {
		if _, err := blocks(netip.MustParsePrefix(bad)); err == nil {
			t.Errorf("range %s was accepted", bad)
		}
	}
}

package forwarded_test

import (
	"net/http"
	"net/netip"
	"testing"

	"flint/internal/forwarded"
)

func TestClient(t *testing.T) {
	t.Parallel()
	ours := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		name, peer, want string
		header           []string
	}{
		{"no proxy", "203.0.113.1:99", "203.0.113.1", nil},
		{"no proxy, by IPv6", "[2001:db8::2]:99", "2001:db8::2", nil},
		{"no proxy, by an old address in new clothes", "[::ffff:203.0.113.1]:99", "203.0.113.1", nil},
		{"no port", "203.0.113.1", "203.0.113.1", nil},
		{"a stranger's word", "203.0.113.1:99", "203.0.113.1", []string{"198.51.100.7"}},
		{"our proxy's word", "127.0.0.1:99", "198.51.100.7", []string{"198.51.100.7"}},
		{"what the client forged stays out", "127.0.0.1:99", "198.51.100.7", []string{"1.2.3.4, 198.51.100.7, 10.0.0.3"}},
		{"several fields are one list", "[::1]:99", "198.51.100.7", []string{"1.2.3.4", "198.51.100.7"}},
		{"all ours", "127.0.0.1:99", "10.0.0.9", []string{"10.0.0.9, 10.0.0.3"}},
		{"what is no address", "127.0.0.1:99", "198.51.100.7", []string{"unknown, 198.51.100.7, -"}},
		{"nothing of use", "127.0.0.1:99", "127.0.0.1", []string{"unknown"}},
		{"a port", "127.0.0.1:99", "198.51.100.7", []string{"198.51.100.7:1234"}},
		{"an old address in new clothes", "127.0.0.1:99", "198.51.100.7", []string{"::ffff:198.51.100.7"}},
		{"brackets", "127.0.0.1:99", "2001:db8::1", []string{"[2001:db8::1]"}},
		{"a socket", "@", "@", nil},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.header}}
		if got := (forwarded.Rules{Proxies: ours, Headers: []string{"X-Real-IP", "x-forwarded-for"}}).Client(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSecure(t *testing.T) {
	t.Parallel()
	rules := forwarded.Rules{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, c := range []struct {
		peer, proto string
		want        bool
	}{
		{"127.0.0.1:1", "https", true}, {"127.0.0.1:1", "HTTPS, http", true}, {"127.0.0.1:1", "http", false}, {"127.0.0.1:1", "", false}, {"192.0.2.1:1", "https", false},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-Proto": {c.proto}}}
		if got := rules.Secure(r); got != c.want {
			t.Errorf("%s from %s: %v", c.proto, c.peer, got)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("127.0.0.1:1", "1.2.3.4, [::1]:5")
	f.Add("[::1]:1", "::ffff:1.2.3.4%eth0")
	rules := forwarded.Rules{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Headers: []string{"X-Forwarded-For"}}
	f.Fuzz(func(t *testing.T, peer, header string) {
		got := rules.Client(&http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {header}}})
		if _, err := netip.ParseAddr(got); err != nil && got != peer {
			t.Errorf("%q is neither an address nor the peer", got)
		}
	})
}

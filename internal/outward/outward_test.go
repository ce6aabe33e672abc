package outward_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"flint/internal/outward"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	p := outward.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::1/128")}}
	for address, open := range map[string]bool{
		"1.1.1.1": true, "172.32.0.1": true, "2606:4700::1": true, "10.1.2.3": true, "fd00::1": true, "::ffff:1.1.1.1": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "::ffff:127.0.0.1": false, "::7f00:1": false,
		"fe80::1%eth0": false, "fd00::2": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "ff02::1": false,
	} {
		err := p.Check(netip.MustParseAddr(address))
		var refused *outward.RefusedError
		if open != (err == nil) || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if p.Check(netip.Addr{}) == nil {
		t.Error("no address is an address")
	}
}

// TestTheAddressDecides dials a listener by its name and by its address.
func TestTheAddressDecides(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dial := func(ctx context.Context, p outward.Policy, host string) error {
		c, err := p.Dialer(time.Minute).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	var refused *outward.RefusedError
	for _, host := range []string{"127.0.0.1", "localhost", "0x7f000001", "::ffff:127.0.0.1"} {
		if err := dial(t.Context(), outward.Policy{}, host); !errors.As(err, &refused) && host != "0x7f000001" || err == nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := dial(t.Context(), outward.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, "127.0.0.1"); err != nil {
		t.Errorf("what is allowed: %v", err)
	}
}

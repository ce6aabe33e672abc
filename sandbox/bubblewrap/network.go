package bubblewrap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"flint/internal/network"
	"flint/internal/rootfs"
	"flint/sandbox"
)

// connect opens the networks, if they are wanted and the host has what they need.
func (d *Driver) connect(cfg *network.Config) {
	if cfg == nil {
		d.noNets = "the node is not set to give them any"
		return
	}
	var err error
	switch {
	case d.users == nil:
		err = fmt.Errorf("making them needs root, and a user of its own for each sandbox (%s)", d.noUsers)
	case os.Geteuid() != 0:
		err = errors.New("making them needs root")
	default:
		c := *cfg
		c.Logger, c.NameServer = d.log, netip.MustParseAddr(rootfs.NameServer)
		d.networks, err = network.Open(c)
	}
	if err != nil {
		d.networks, d.noNets = nil, lacking(err)
	}
}

// lacking says what an error of the kernel about networks means.
func lacking(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return err.Error() + " (the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN are needed)"
	case errors.Is(err, unix.EROFS):
		return err.Error() + " (/proc/sys cannot be written, as in most containers)"
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return err.Error() + " (the kernel may lack nf_tables, nft_reject, nft_ct, nft_masq or veth)"
	}
	return err.Error()
}

// Networks says why sandboxes have no network of their own, or returns nil when they can have one.
func (d *Driver) Networks() error {
	if d.networks != nil {
		return nil
	}
	return fmt.Errorf("%w: %s", sandbox.ErrNoNetwork, d.noNets)
}

// classOf returns what a spec's network is called where they are made. The others are bubblewrap's, and the host's.
func classOf(n sandbox.Network) (network.Class, bool) {
	switch n {
	case sandbox.NetworkNode:
		return network.Node, true
	case sandbox.NetworkInternet:
		return network.Internet, true
	case sandbox.NetworkBuild:
		return network.Build, true
	case sandbox.NetworkNone, sandbox.NetworkHost:
	}
	return 0, false
}

// join gets the sandbox its network.
func (s *running) join(ctx context.Context) (err error) {
	class, own := classOf(s.spec.Network)
	if !own {
		return nil
	}
	if err := s.driver.Networks(); err != nil {
		return err
	}
	s.network, err = s.driver.networks.Take(ctx, class)
	return err
}

func (d *Driver) network() sandbox.Finding {
	f := sandbox.Finding{Layer: "network"}
	if d.networks == nil {
		f.Detail = "sandboxes have no network of their own: " + d.noNets + ". Those with the host's reach everything that the host " +
			"reaches, its own ports and abstract sockets included"
		return f
	}
	f.OK = true
	f.Detail = fmt.Sprintf("each sandbox has one of its own, with addresses from %s: it reaches the API and the internet, not the "+
		"host, other sandboxes and private networks; no IPv6", d.networks.Range())
	if o := d.networks.Obstacles(); len(o) > 0 {
		f.OK = false
		f.Detail += ". Rules of this host drop what is forwarded unless they say otherwise, in " + strings.Join(o, ", ") +
			": have them accept what comes from and goes to the interfaces flint*, or sandboxes reach nothing outside"
	}
	return f
}

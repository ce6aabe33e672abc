package bubblewrap

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"flint/internal/network"
	"flint/internal/rootfs"
	"flint/sandbox"
)

// networks makes the networks of sandboxes.
type networks interface {
	Take(ctx context.Context, class network.Class) (*network.Network, error)
	Describe() (detail string, good bool)
	Close() error
}

// connect opens the networks, if they are wanted and the host has what they need.
func (d *Driver) connect(cfg *network.Config) {
	if cfg == nil {
		d.noNets = "the node is not set to give them any"
		return
	}
	c := *cfg
	c.Logger, c.NameServer = d.log, netip.MustParseAddr(rootfs.NameServer)
	switch {
	case d.users != nil && os.Geteuid() == 0:
		if p, err := network.Open(c); err != nil {
			d.noNets = network.Explain(err)
		} else {
			d.networks = p
		}
	case d.users == nil && os.Geteuid() != 0:
		if r, err := network.OpenRootless(c); err != nil {
			d.noNets = "making them without being root: " + err.Error()
		} else {
			d.networks = r
			d.log.Info("the networks of sandboxes carry TCP and names only, because Flint is not root")
		}
	case d.users == nil:
		d.noNets = fmt.Sprintf("root makes them for sandboxes that have a user of their own each (%s)", d.noUsers)
	default:
		d.noNets = "making them needs root"
	}
}

// Networks says why sandboxes have no network of their own, or returns nil when they can have one.
func (d *Driver) Networks() error {
	if d.networks != nil {
		return nil
	}
	return fmt.Errorf("%w: %s", sandbox.ErrNoNetwork, d.noNets)
}

// classOf returns what a spec's network is called where they are made.
func classOf(n sandbox.Network) network.Class {
	switch n {
	case sandbox.NetworkNode:
		return network.Node
	case sandbox.NetworkBuild:
		return network.Build
	case sandbox.NetworkInternet, sandbox.NetworkNone, sandbox.NetworkHost:
	}
	return network.Internet
}

// join gets the sandbox its network.
func (s *running) join(ctx context.Context) (err error) {
	if !s.spec.Network.Own() {
		return nil
	}
	if err := s.driver.Networks(); err != nil {
		return err
	}
	s.network, err = s.driver.networks.Take(ctx, classOf(s.spec.Network))
	return err
}

func (d *Driver) network() sandbox.Finding {
	f := sandbox.Finding{Layer: "network"}
	if d.networks == nil {
		f.Detail = "sandboxes have no network of their own: " + d.noNets + ". Those with the host's reach everything that the host " +
			"reaches, its own ports and abstract sockets included"
		return f
	}
	f.Detail, f.OK = d.networks.Describe()
	return f
}

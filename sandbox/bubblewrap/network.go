package bubblewrap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

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
		d.networks, d.noNets = nil, network.Explain(err)
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

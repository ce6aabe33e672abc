package oci

import (
	"context"
	"fmt"
	"net/netip"

	"flint/internal/network"
	"flint/internal/rootfs"
	"flint/sandbox"
)

// connect opens the networks, if they are wanted and the host has what they need.
func (d *Driver) connect(cfg *network.Config) {
	switch {
	case cfg == nil:
		d.noNets = "the node is not set to give them any"
		return
	case d.runtime.gVisor():
		// Its sandboxes have a network stack of their own, on whose loopback nobody outside can listen.
		d.noNets = "gVisor keeps the loopback of a sandbox to itself, so that the node cannot answer there"
		return
	}
	c := *cfg
	c.Logger, c.NameServer = d.log, netip.MustParseAddr(rootfs.NameServer)
	var err error
	if d.networks, err = network.Open(c); err != nil {
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
	if d.networks != nil {
		f.Detail, f.OK = d.networks.Describe()
		return f
	}
	f.Detail = "sandboxes have no network of their own: " + d.noNets + ". Those with the host's reach everything that the host " +
		"reaches, its own ports and abstract sockets included; the others have a loopback of their own and nothing else"
	return f
}

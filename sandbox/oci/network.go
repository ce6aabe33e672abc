package oci

import (
	"net/netip"

	"flint/internal/network"
	"flint/internal/rootfs"
)

// connect opens the networks, if they are wanted and the host has what they need.
func (d *Driver) connect(cfg *network.Config) {
	switch {
	case cfg == nil:
		d.NoNets = "the node is not set to give them any"
		return
	case d.runtime.gVisor():
		// Its sandboxes have a network stack of their own, on whose loopback nobody outside can listen.
		d.NoNets = "gVisor keeps the loopback of a sandbox to itself, so that the node cannot answer there"
		return
	}
	c := *cfg
	c.Logger, c.NameServer = d.Log, netip.MustParseAddr(rootfs.NameServer)
	if p, err := network.Open(c); err != nil {
		d.NoNets = network.Explain(err)
	} else {
		d.Nets = p
	}
}

package bubblewrap

import (
	"fmt"
	"net/netip"
	"os"

	"flint/internal/network"
	"flint/internal/rootfs"
)

// connect opens the networks, if they are wanted and the host has what they need.
func (d *Driver) connect(cfg *network.Config) {
	if cfg == nil {
		d.NoNets = "the node is not set to give them any"
		return
	}
	c := *cfg
	c.Logger, c.NameServer = d.Log, netip.MustParseAddr(rootfs.NameServer)
	switch {
	case d.users != nil && os.Geteuid() == 0:
		if p, err := network.Open(c); err != nil {
			d.NoNets = network.Explain(err)
		} else {
			d.Nets = p
		}
	case d.users == nil && os.Geteuid() != 0:
		if r, err := network.OpenRootless(c); err != nil {
			d.NoNets = "making them without being root: " + err.Error()
		} else {
			d.Nets = r
			d.Log.Info("the networks of sandboxes carry TCP and names only, because Flint is not root")
		}
	case d.users == nil:
		d.NoNets = fmt.Sprintf("root makes them for sandboxes that have a user of their own each (%s)", d.noUsers)
	default:
		d.NoNets = "making them needs root"
	}
}

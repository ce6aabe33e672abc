package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"flint/config"
	"flint/internal/network"
	"flint/sandbox"
	"flint/sandbox/bubblewrap"
	"flint/sandbox/oci"
	"flint/sandbox/process"
)

// Sandbox is a sandbox driver that holds something of the host, and the networks that its sandboxes are to have.
type Sandbox struct {
	sandbox.Driver
	io.Closer
	Functions, Builds sandbox.Network
}

type nothing struct{}

func (nothing) Close() error { return nil }

// OpenSandbox opens the driver that the settings name. Connections that functions and builds make to the API go to
// inside; nil: there is nobody.
func OpenSandbox(ctx context.Context, c config.Config, logger *slog.Logger, inside *inbound) (*Sandbox, error) {
	if c.Sandbox == "none" {
		logger.WarnContext(ctx, "functions run without a sandbox: they can read and do whatever this process can")
		return &Sandbox{process.New(), nothing{}, sandbox.NetworkHost, sandbox.NetworkHost}, nil
	}
	var networks *network.Config
	if c.Network != "host" {
		networks = networkConfig(ctx, c, logger, inside)
	}
	if c.Sandbox == "oci" {
		d, err := oci.New(oci.Config{Runtime: c.OCIRuntime, RunDir: filepath.Join(c.Data, "sandbox"), Network: networks, Logger: logger})
		if err != nil {
			return nil, err
		}
		return connected(c, logger, d, d, d.Networks())
	}
	d, err := bubblewrap.New(bubblewrap.Config{
		Bubblewrap: c.Bubblewrap, RunDir: filepath.Join(c.Data, "sandbox"), Network: networks, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return connected(c, logger, d, d, d.Networks())
}

// connected decides which networks the sandboxes of a driver have, and refuses when they have not what the settings
// demand. missing says why the driver gives them none of their own, if so.
func connected(c config.Config, logger *slog.Logger, d sandbox.Driver, closer io.Closer, missing error) (*Sandbox, error) {
	s := &Sandbox{Driver: d, Closer: closer, Functions: sandbox.NetworkInternet, Builds: sandbox.NetworkBuild}
	switch {
	case c.Network == "host":
		s.Functions, s.Builds = sandbox.NetworkHost, sandbox.NetworkHost
	case c.Network == "isolated" && missing != nil:
		return nil, errors.Join(fmt.Errorf("--network=isolated: %w", missing), closer.Close())
	case c.Network == "none" && missing != nil:
		logger.Warn("functions reach nothing, not even the API, and builds have the host's network", slog.String("why", missing.Error()))
		s.Functions, s.Builds = sandbox.NetworkNone, sandbox.NetworkHost
	case c.Network == "none":
		s.Functions = sandbox.NetworkNode
	case missing != nil:
		logger.Warn("functions and builds have the host's network: they reach its own ports and its neighbours", slog.String("why", missing.Error()))
		s.Functions, s.Builds = sandbox.NetworkHost, sandbox.NetworkHost
	}
	return s, nil
}

// lookupTimeout bounds the search for the addresses of what the settings name.
const lookupTimeout = 5 * time.Second

// JoinNetwork is the command that the program is started with in networks that are made without root.
const JoinNetwork = "join-network"

// networkConfig says what sandboxes reach: what the settings say, the API, and for builds the proxies and registries of
// the node's own environment, wherever they are.
func networkConfig(ctx context.Context, c config.Config, logger *slog.Logger, inside *inbound) *network.Config {
	n := &network.Config{
		Range: c.NetworkRange, Prepare: network.Internet,
		Policy: network.Policy{Allow: c.NetworkAllow, Deny: c.NetworkDeny},
		Join:   []string{"/proc/self/exe", JoinNetwork}, // this program, also when another lies at its path by now
	}
	if c.Network == "none" {
		n.Prepare = network.Node
	}
	if inside == nil {
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	own, _ := inside.addr.(*net.TCPAddr)
	for _, at := range addresses(ctx, endpoints("", c.Endpoint), logger) {
		switch {
		case !at.Addr().IsLoopback():
			n.Policy.Reach = append(n.Policy.Reach, at)
		case own != nil && int(at.Port()) == own.Port:
			n.Ports = append(n.Ports, network.Port{Addr: at, Serve: inside.serve})
		default:
			n.Ports = append(n.Ports, network.Port{Addr: at, Serve: network.Relay(at)})
		}
	}
	listens := func(at netip.AddrPort) bool {
		return slices.ContainsFunc(n.Ports, func(p network.Port) bool { return p.Addr == at })
	}
	for _, port := range c.NetworkPorts {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
		if !listens(at) {
			n.Ports = append(n.Ports, network.Port{Addr: at, Serve: network.Relay(at)})
		}
	}
	for _, at := range addresses(ctx, registries(config.Environ(c.BuildEnvironment)), logger) {
		if !at.Addr().IsLoopback() {
			n.Policy.BuildReach = append(n.Policy.BuildReach, at)
		} else if !listens(at) {
			n.Ports = append(n.Ports, network.Port{Addr: at, Build: true, Serve: network.Relay(at)})
		}
	}
	return n
}

// registries returns the hosts and ports that the variables of builds name.
func registries(environ []string) []string {
	var all []string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		all = append(all, endpoints(name, value)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// endpoints returns the hosts and ports of the URLs in the value of a variable. Proxies are often written without a
// scheme.
func endpoints(variable, value string) (all []string) {
	variable = strings.ToLower(variable)
	proxy := strings.HasSuffix(variable, "_proxy") && variable != "no_proxy"
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(" \t\n,|", r) }) {
		if proxy && !strings.Contains(part, "://") {
			part = "http://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		switch {
		case port != "":
		case u.Scheme == "https":
			port = "443"
		case strings.HasPrefix(u.Scheme, "socks"):
			port = "1080"
		default:
			port = "80"
		}
		all = append(all, net.JoinHostPort(u.Hostname(), port))
	}
	return all
}

// addresses finds where hosts and ports are, as sandboxes reach them: over IPv4, and on a loopback over IPv6 as well.
func addresses(ctx context.Context, endpoints []string, logger *slog.Logger) (all []netip.AddrPort) {
	for _, e := range endpoints {
		host, text, _ := net.SplitHostPort(e)
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			logger.WarnContext(ctx, "the address is not known of a host that functions or builds are to reach", slog.String("host", host), slog.String("err", err.Error()))
			continue
		}
		for _, a := range found {
			a = a.Unmap()
			if at := netip.AddrPortFrom(a, uint16(port)); (a.Is4() || a.IsLoopback()) && !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

package server

import (
	"log/slog"
	"net/netip"
	"net/url"
	"slices"

	"flint/api/proxyrules"
	"flint/config"
	"flint/internal/forwarded"
	"flint/store"
)

// proxies are whom the settings trust.
func proxies(c config.Config) forwarded.Rules {
	return forwarded.Rules{Proxies: c.TrustedProxies, Headers: c.ClientIPHeaders}
}

// hosts are the names under which the API is reached: those of the settings, and the one that functions are told.
func hosts(c config.Config) []string {
	all := c.Hostnames
	if u, err := url.Parse(c.Endpoint); err == nil && u.Hostname() != "" {
		all = append(slices.Clip(all), u.Hostname())
	}
	return all
}

// plainHost returns the host at which functions reach the API without TLS, if they do.
func plainHost(c config.Config) string {
	if u, err := url.Parse(c.Endpoint); err == nil && u.Scheme == "http" {
		return u.Hostname()
	}
	return ""
}

// ruleService makes the service of proxy rules.
func ruleService(c config.Config, db *store.Store, logger *slog.Logger) *proxyrules.Service {
	var addresses []netip.Addr
	addresses = append(append(addresses, c.DomainA...), c.DomainAAAA...)
	return proxyrules.New(proxyrules.Config{
		Store: db, Logger: logger, Resolver: proxyrules.NewResolver(c.NameServer), Domain: c.Domain, Hostnames: hosts(c),
		Targets: proxyrules.Targets{Names: c.DomainTarget, Addresses: addresses}, HashedIDs: c.RuleIDs == "md5",
	})
}

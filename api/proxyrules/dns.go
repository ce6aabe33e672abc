package proxyrules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"flint"
)

// Resolver answers questions about names. *net.Resolver is one; tests have another.
type Resolver interface {
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Targets are where a domain must lead: to one of the names or to one of the addresses.
type Targets struct {
	Names     []string
	Addresses []netip.Addr
}

// NewResolver returns a resolver that asks one name server, or those of the host when it is empty.
func NewResolver(server string) *net.Resolver {
	if server == "" {
		return &net.Resolver{}
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
}

// lookTime bounds one look at a domain.
const lookTime = 5 * time.Second

// reserved are top-level domains that nobody can own.
var reserved = []string{"test", "example", "invalid", "localhost", "local", "internal"} //nolint:gochecknoglobals // read only

// look finds out whether a domain leads here, and if it does not, why.
func (s *Service) look(ctx context.Context, domain string) (flint.RuleStatus, string) {
	if strings.HasSuffix(domain, "."+s.config.Domain) {
		return flint.RuleVerified, ""
	}
	if why := s.wrong(ctx, domain); why != "" {
		return flint.RuleUnverified, why
	}
	return flint.RuleVerified, ""
}

func (s *Service) wrong(ctx context.Context, domain string) string {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if tld := domain[strings.LastIndexByte(domain, '.')+1:]; slices.Contains(reserved, tld) {
		return fmt.Sprintf("Domain %s cannot be verified: .%s is reserved and not part of the public domain name system.", domain, tld)
	}
	names := append([]string{s.config.Domain}, s.config.Targets.Names...)
	canonical, err := s.config.Resolver.LookupCNAME(ctx, domain)
	canonical = strings.ToLower(strings.TrimSuffix(canonical, "."))
	var missing *net.DNSError
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("Domain %s could not be looked up in time.", domain)
	case err != nil && (!errors.As(err, &missing) || !missing.IsNotFound):
		return fmt.Sprintf("Domain %s could not be looked up: %v.", domain, err)
	case err == nil && slices.ContainsFunc(names, func(name string) bool { return s.leadsTo(ctx, canonical, name) }):
		return ""
	case err == nil && s.hasTarget(ctx, domain):
		return ""
	case err == nil && canonical != domain:
		return fmt.Sprintf("Domain %s has incorrect CNAME value: it leads to %s and should lead to %s.", domain, canonical, strings.Join(names, " or "))
	}
	return fmt.Sprintf("Domain %s is missing CNAME record: it should lead to %s.%s", domain, strings.Join(names, " or "), s.otherwise())
}

// leadsTo reports whether the end of a chain of names is a target, or the end of the target's own chain.
func (s *Service) leadsTo(ctx context.Context, canonical, target string) bool {
	if canonical == target || strings.HasSuffix(canonical, "."+s.config.Domain) {
		return true
	}
	end, err := s.config.Resolver.LookupCNAME(ctx, target)
	return err == nil && strings.EqualFold(strings.TrimSuffix(end, "."), canonical)
}

// hasTarget reports whether the domain has one of our addresses.
func (s *Service) hasTarget(ctx context.Context, domain string) bool {
	if len(s.config.Targets.Addresses) == 0 {
		return false
	}
	found, err := s.config.Resolver.LookupNetIP(ctx, "ip", domain)
	return err == nil && slices.ContainsFunc(found, func(a netip.Addr) bool { return slices.Contains(s.config.Targets.Addresses, a.Unmap()) })
}

// otherwise names the addresses that would do as well.
func (s *Service) otherwise() string {
	if len(s.config.Targets.Addresses) == 0 {
		return ""
	}
	texts := make([]string, len(s.config.Targets.Addresses))
	for i, a := range s.config.Targets.Addresses {
		texts[i] = a.String()
	}
	return " Or give it an A or AAAA record of " + strings.Join(texts, " or ") + "."
}

const (
	watchEvery = 2 * time.Minute
	watchAge   = 3 * 24 * time.Hour // older rules wait for somebody to ask
	watchBatch = 100                // rules looked at in one round
)

// Watch looks again, from time to time, at the domains of new rules that do not lead here yet. It returns when ctx ends.
func (s *Service) Watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := s.lookAgain(ctx, now); err != nil && ctx.Err() == nil {
				s.config.Logger.ErrorContext(ctx, "domains not verified", slog.String("err", err.Error()))
			}
		}
	}
}

func (s *Service) lookAgain(ctx context.Context, now time.Time) error {
	rules, err := s.config.Store.UnverifiedRules(ctx, now.Add(-watchAge), watchBatch)
	if err != nil {
		return err
	}
	for _, r := range rules {
		status, logs := s.look(ctx, r.Domain)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop: what was found is of no use
		}
		if status == r.Status && logs == r.Logs {
			continue
		}
		if _, err := s.config.Store.SetRuleStatus(ctx, r.Project, r.ID, status, logs); err != nil && !errors.Is(err, flint.ErrRuleNotFound) {
			return err
		}
	}
	return nil
}

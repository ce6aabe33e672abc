// Package proxyrules is the REST service of proxy rules: which domain leads to which function, to another address or to
// the API.
package proxyrules

import (
	"context"
	"crypto/md5" //nolint:gosec // names things, protects nothing
	"encoding/hex"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Config is what the service needs.
type Config struct {
	Store    *store.Store
	Logger   *slog.Logger
	Resolver Resolver

	Domain    string   // the base domain of functions, below which every name is ours
	Hostnames []string // of the platform itself: they can have no rule
	Targets   Targets  // where other domains must lead
	HashedIDs bool     // rules are named after their domains
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil || c.Logger == nil || c.Resolver == nil {
		panic("proxyrules: Store, Logger and Resolver are required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const root, one = "/v1/proxy/rules", "/v1/proxy/rules/{ruleId}"
	read, write := []string{"rules.read"}, []string{"rules.write"}
	creations := api.Limit{Max: 10, Per: time.Minute, Exempt: true}
	routes := []api.Route{
		{Method: "GET", Path: root, Name: "proxy.listRules", Summary: "List rules", Scopes: read, Callers: auth.Servers | auth.Users, Handler: api.Handle(200, s.list)},
		{Method: "POST", Path: root + "/api", Name: "proxy.createAPIRule", Summary: "Create API rule", Scopes: write, Callers: auth.Servers, Limit: creations, Handler: api.Handle(201, s.createAPI)},
		{Method: "POST", Path: root + "/function", Name: "proxy.createFunctionRule", Summary: "Create function rule", Scopes: write, Callers: auth.Servers, Limit: creations, Handler: api.Handle(201, s.createFunction)},
		{Method: "POST", Path: root + "/redirect", Name: "proxy.createRedirectRule", Summary: "Create redirect rule", Scopes: write, Callers: auth.Servers, Limit: creations, Handler: api.Handle(201, s.createRedirect)},
		{Method: "POST", Path: root + "/site", Name: "proxy.createSiteRule", Summary: "Create site rule", Scopes: write, Callers: auth.Servers, Limit: creations, Handler: api.Handle(201, s.createSite)},
		{Method: "GET", Path: one, Name: "proxy.getRule", Summary: "Get rule", Scopes: read, Callers: auth.Servers | auth.Users, Handler: api.Handle(200, s.get)},
		{Method: "DELETE", Path: one, Name: "proxy.deleteRule", Summary: "Delete rule", Scopes: write, Callers: auth.Servers, Handler: api.Handle(204, s.delete)},
		{Method: "PATCH", Path: one + "/status", Aliases: []string{one + "/verification"}, Name: "proxy.updateRuleStatus", Summary: "Verify rule", Scopes: write, Callers: auth.Servers, Handler: api.Handle(200, s.verify)},
	}
	rules := map[string]api.Rule{
		"domain": api.TextRule(flint.ValidDomain, "Value must be a valid domain: letters, digits and hyphens, with at least one period, and nothing around it.", map[string]any{"maxLength": flint.MaxDomainLength}),
		"url":    api.TextRule(validURL, "Value must be a valid URL", nil),

		"redirectStatus": {Schema: map[string]any{"enum": redirects()}},
	}
	for i := range routes {
		routes[i].Rules = rules
	}
	return routes
}

// redirects are the statuses that a redirect may have.
func redirects() []int { return []int{301, 302, 307, 308} }

// validURL reports whether browsers can be sent to a URL.
func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(s) <= 2048 && !strings.ContainsAny(s, "\r\n\x00")
}

type listIn struct {
	api.Request
	Queries []string `param:"queries" doc:"Queries, each a JSON text."`
	Total   bool     `param:"total" default:"true" rule:"loose" doc:"Count all rows. Without it the total is 0."`
	Search  string   `param:"search" rule:"text 0 256" doc:"Text to look for in id and domain."`
}

// renamed are the names that clients before 1.7 use in queries.
var renamed = strings.NewReplacer( //nolint:gochecknoglobals // read only
	`"attribute":"resourceType"`, `"attribute":"deploymentResourceType"`, `"attribute":"resourceId"`, `"attribute":"deploymentResourceId"`)

func (s *Service) list(ctx context.Context, in *listIn) (*wire.RuleList, error) {
	if in.Format.Before(1, 7, 0) {
		for i := range in.Queries {
			in.Queries[i] = renamed.Replace(in.Queries[i])
		}
	}
	l, err := flint.ParseList(in.Queries, flint.RuleAttributes())
	if err != nil {
		return nil, err
	}
	l.NoTotal, l.Search = !in.Total, in.Search
	found, total, err := s.config.Store.Rules(ctx, in.Principal.ProjectID(), l)
	if err != nil {
		return nil, err
	}
	return wire.NewRuleList(found, total, in.Format), nil
}

type oneRule struct {
	api.Request
	RuleID string `param:"ruleId" rule:"id" doc:"Rule ID."`
}

func (s *Service) get(ctx context.Context, in *oneRule) (*wire.Rule, error) {
	r, err := s.config.Store.Rule(ctx, in.Principal.ProjectID(), flint.RuleID(in.RuleID))
	if err != nil {
		return nil, err
	}
	return wire.NewRule(r, in.Format), nil
}

func (s *Service) delete(ctx context.Context, in *oneRule) (api.NoContent, error) {
	return api.NoContent{}, s.config.Store.DeleteRule(ctx, in.Principal.ProjectID(), flint.RuleID(in.RuleID))
}

type createIn struct {
	api.Request
	Domain string `param:"domain,required" rule:"domain" doc:"Domain name."`
}

type createFunctionIn struct {
	createIn
	FunctionID string `param:"functionId,required" rule:"id" doc:"Function ID."`
	Branch     string `param:"branch" rule:"text 0 255" doc:"Branch of the function's repository; kept, and of no effect."`
}

type createSiteIn struct {
	createIn
	SiteID string `param:"siteId,required" rule:"id" doc:"Site ID."`
	Branch string `param:"branch" rule:"text 0 255" doc:"Branch of the site's repository."`
}

type createRedirectIn struct {
	createIn
	URL          string `param:"url,required" rule:"url" doc:"Where requests are sent to."`
	StatusCode   int    `param:"statusCode,required" rule:"redirectStatus" doc:"Status of the redirect: 301, 302, 307 or 308."`
	ResourceID   string `param:"resourceId,required" rule:"id" doc:"What the rule belongs to."`
	ResourceType string `param:"resourceType,required" rule:"enum site function" doc:"What kind of thing that is."`
}

func (s *Service) createAPI(ctx context.Context, in *createIn) (*wire.Rule, error) {
	return s.create(ctx, in, &flint.Rule{Type: flint.RuleAPI})
}

func (s *Service) createFunction(ctx context.Context, in *createFunctionIn) (*wire.Rule, error) {
	return s.create(ctx, &in.createIn, &flint.Rule{Type: flint.RuleDeployment, Function: flint.FunctionID(in.FunctionID), Branch: in.Branch})
}

// createSite refuses: there are no sites, so none has that id.
func (s *Service) createSite(_ context.Context, in *createSiteIn) (*wire.Rule, error) {
	if err := s.allowed(strings.ToLower(in.Domain)); err != nil {
		return nil, err
	}
	return nil, flint.ErrRuleResource
}

func (s *Service) createRedirect(ctx context.Context, in *createRedirectIn) (*wire.Rule, error) {
	if !slices.Contains(redirects(), in.StatusCode) {
		return nil, api.Invalid("statusCode", "Value must be one of (301, 302, 307, 308)")
	}
	if in.ResourceType == "site" {
		return nil, flint.ErrRuleResource
	}
	return s.create(ctx, &in.createIn, &flint.Rule{
		Type: flint.RuleRedirect, RedirectURL: in.URL, RedirectStatus: in.StatusCode, Function: flint.FunctionID(in.ResourceID),
	})
}

// create adds a rule after a look at its domain. One that does not lead here yet is added all the same.
func (s *Service) create(ctx context.Context, in *createIn, r *flint.Rule) (*wire.Rule, error) {
	r.Project, r.Domain = in.Principal.ProjectID(), strings.ToLower(in.Domain)
	if err := s.allowed(r.Domain); err != nil {
		return nil, err
	}
	if r.Function != "" {
		if _, err := s.config.Store.Function(ctx, r.Project, r.Function); err != nil {
			return nil, missing(err)
		}
	}
	r.ID = flint.RuleID(flint.NewID())
	if s.config.HashedIDs {
		sum := md5.Sum([]byte(r.Domain)) //nolint:gosec // names things, protects nothing
		r.ID = flint.RuleID(hex.EncodeToString(sum[:]))
	}
	r.Status, r.Logs = s.look(ctx, r.Domain)
	if err := s.config.Store.CreateRule(ctx, r); err != nil {
		return nil, missing(err)
	}
	return wire.NewRule(r, in.Format), nil
}

// missing says of a function that is not there what rules say.
func missing(err error) error {
	if errors.Is(err, flint.ErrFunctionNotFound) {
		return flint.ErrRuleResource
	}
	return err
}

var errDomain = flint.ErrInvalidArgument.Saying("This domain name is not allowed. Please use a different domain.")

// allowed returns an error for the names of the platform, and for those below the functions' domain that are not one
// label long.
func (s *Service) allowed(domain string) error {
	if domain == s.config.Domain || slices.Contains(s.config.Hostnames, domain) {
		return errDomain
	}
	if label, below := strings.CutSuffix(domain, "."+s.config.Domain); below && strings.Contains(label, ".") {
		return errDomain
	}
	return nil
}

// verify looks at a rule's domain again.
func (s *Service) verify(ctx context.Context, in *oneRule) (*wire.Rule, error) {
	r, err := s.config.Store.Rule(ctx, in.Principal.ProjectID(), flint.RuleID(in.RuleID))
	if err != nil {
		return nil, err
	}
	if r.Status == flint.RuleVerified {
		return wire.NewRule(r, in.Format), nil
	}
	status, logs := s.look(ctx, r.Domain)
	if r, err = s.config.Store.SetRuleStatus(ctx, r.Project, r.ID, status, logs); err != nil {
		return nil, err
	}
	if status != flint.RuleVerified {
		return nil, flint.ErrRuleVerify.Saying("%s", logs)
	}
	return wire.NewRule(r, in.Format), nil
}

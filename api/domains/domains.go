// Package domains is the REST service of what functions do on their domains beyond the reference. It has a namespace of
// its own, /v1/flint, that the reference's clients do not know.
package domains

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Config is what the service needs.
type Config struct{ Store *store.Store }

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil {
		panic("domains: Store is required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const path = "/v1/flint/functions/{functionId}/domain"
	rules := map[string]api.Rule{
		"origin": api.TextRule(flint.ValidOrigin, "Value must be an origin such as https://app.example.com or https://*.example.com, without a path, or *", nil),
		"method": api.TextRule(token.MatchString, "Value must be the name of an HTTP method", nil),
		"header": api.TextRule(token.MatchString, "Value must be the name of a header, or *", nil),
	}
	return []api.Route{
		{Method: "GET", Path: path, Name: "flint.getFunctionDomain", Summary: "Get domain settings", Scopes: []string{"functions.read"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: path, Name: "flint.updateFunctionDomain", Summary: "Update domain settings", Scopes: []string{"functions.write"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.update)},
	}
}

// token is what HTTP calls the words in its heads.
var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")

type getIn struct {
	api.Request
	FunctionID string `param:"functionId" rule:"id" doc:"Function ID."`
}

func (s *Service) get(ctx context.Context, in *getIn) (*wire.FunctionDomain, error) {
	f, err := s.config.Store.Function(ctx, in.Principal.ProjectID(), flint.FunctionID(in.FunctionID))
	if err != nil {
		return nil, err
	}
	return s.model(ctx, f)
}

type updateIn struct {
	getIn
	Identify    bool     `param:"identifyCallers" default:"false" doc:"Callers who send a key or a token are who they show they are, as through the API. Else everybody is a guest."`
	Origins     []string `param:"corsOrigins" rule:"origin" max:"100" doc:"Origins whose pages may call the function. None: the function answers browsers itself."`
	Methods     []string `param:"corsMethods" rule:"method" max:"20" doc:"Methods that such pages may use. None: all common ones."`
	Headers     []string `param:"corsHeaders" rule:"header" max:"100" doc:"Headers that such pages may send; * for all."`
	Exposed     []string `param:"corsExposedHeaders" rule:"header" max:"100" doc:"Headers of answers that such pages may read."`
	Credentials bool     `param:"corsCredentials" default:"false" doc:"Such pages may send cookies and other credentials."`
	MaxAge      int      `param:"corsMaxAge" default:"600" rule:"range 0 86400" doc:"Seconds that browsers remember this."`
}

// update replaces all of the settings.
func (s *Service) update(ctx context.Context, in *updateIn) (*wire.FunctionDomain, error) {
	settings := flint.DomainSettings{Identify: in.Identify}
	if len(in.Origins) > 0 {
		if in.Credentials && slices.Contains(in.Origins, "*") {
			return nil, api.Invalid("corsCredentials", "Pages of every origin cannot be allowed to send credentials. Name the origins.")
		}
		for i, m := range in.Methods {
			in.Methods[i] = strings.ToUpper(m)
		}
		settings.CORS = &flint.CORS{
			Origins: in.Origins, Methods: in.Methods, Headers: in.Headers, Exposed: in.Exposed, Credentials: in.Credentials, MaxAge: in.MaxAge,
		}
	}
	f, err := s.config.Store.UpdateFunction(ctx, in.Principal.ProjectID(), flint.FunctionID(in.FunctionID), func(f *flint.Function) error {
		f.Domain = settings
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.model(ctx, f)
}

// model names the domains of a function with its settings.
func (s *Service) model(ctx context.Context, f *flint.Function) (*wire.FunctionDomain, error) {
	rules, _, err := s.config.Store.Rules(ctx, f.Project, flint.List{
		Limit: 100, NoTotal: true, Filters: []flint.Query{
			{Method: "equal", Attribute: "deploymentResourceId", Values: []any{string(f.ID)}},
			{Method: "equal", Attribute: "type", Values: []any{string(flint.RuleDeployment)}},
		},
	})
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionDomain(f, rules), nil
}

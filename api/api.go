// Package api is the frame of the REST surface. A service is a list of [Route]s, each with a typed handler; the frame
// routes, identifies the caller, authorises, binds and checks parameters, limits, renders, translates errors, counts and
// logs, and derives the OpenAPI document from the same list.
//
// Handlers do not decide about access, statuses or encodings, so none of them can forget to. The frame starts no
// goroutine: everything happens on the request's.
package api

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/auth"
	"flint/internal/forwarded"
	"flint/wire"
)

// ErrNotImplemented is what a client is told that asks for something this version does not have.
var ErrNotImplemented = &flint.Error{Kind: flint.NotImplemented, Type: "general_not_implemented", Message: "This version does not support what was asked for."}

// Config is what the frame needs.
type Config struct {
	Auth     *auth.Authenticator
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted

	// MaxUpload is the most bytes that a request with a file may have; 0: 64 MiB. It is the outermost of the bounds:
	// who receives the file has a smaller one and a better message.
	MaxUpload int64
	// Hosts are the platform's own names beside this machine's: their pages may read answers.
	Hosts []string
	// Secure has callers who come by plain http sent to https, but for those who ask for this machine by its own name or
	// for PlainHost: functions do, on their way inside.
	Secure    bool
	PlainHost string
	// Format is of what clients get who do not say which version they know.
	Format wire.Format
	// Development has clients told what else only the log knows of errors.
	Development bool
	// Forwarded says which proxies are believed about the client's address.
	Forwarded forwarded.Rules
	// Unlimited switches the limits of all routes off.
	Unlimited bool
}

// API serves the routes. It is safe for concurrent use.
type API struct {
	config  Config
	mux     *chi.Mux
	routes  []*boundRoute
	unknown *boundRoute
	metrics *metrics
	openAPI []byte
}

// boundRoute is a route with what is prepared of it.
type boundRoute struct {
	Route
	fields []field
	limits *limiter
}

// New returns the API of the routes. It panics on routes that contradict themselves: they are code.
func New(c Config, services ...[]Route) *API {
	if c.Auth == nil || c.Logger == nil {
		panic("api: Auth and Logger are required")
	}
	if c.MaxUpload <= 0 {
		c.MaxUpload = 64 << 20
	}
	a := &API{config: c, mux: chi.NewMux(), metrics: newMetrics(c.Registry), unknown: &boundRoute{Route: Route{Path: "unknown"}}}
	for _, r := range append(slices.Concat(services...), a.documentRoute()) {
		if len(r.Scopes) == 0 || r.Callers == 0 || r.Name == "" {
			panic("api: " + r.Method + " " + r.Path + " must say its name, scopes and callers")
		}
		b := &boundRoute{Route: r, fields: compile(&r), limits: newLimiter(r.Limit)}
		a.routes = append(a.routes, b)
		serve := func(w http.ResponseWriter, req *http.Request) { a.serve(b, w, req) }
		for _, path := range append([]string{r.Path}, r.Aliases...) {
			a.mux.MethodFunc(r.Method, path, serve)
			if r.Method == http.MethodGet {
				a.mux.MethodFunc(http.MethodHead, path, serve)
			}
		}
	}
	missing := func(w http.ResponseWriter, r *http.Request) { a.serve(a.unknown, w, r) }
	a.mux.NotFound(missing)
	a.mux.MethodNotAllowed(missing) // the reference knows no 405 here
	a.openAPI = document(a.routes)
	return a
}

// Endpoint is a route with its parameters, for those who describe or test it.
type Endpoint struct {
	Route
	Params []Param
	Status int
}

// Endpoints returns the table of endpoints.
func (a *API) Endpoints() []Endpoint {
	var all []Endpoint
	for _, r := range a.routes {
		e := Endpoint{Route: r.Route, Status: r.Handler.status}
		for _, f := range r.fields {
			e.Params = append(e.Params, f.Param)
		}
		if r.Handler.file != "" {
			e.Params = append(e.Params, Param{Name: r.Handler.file, In: "body", Type: "file", Required: true})
		}
		all = append(all, e)
	}
	return all
}

// ServeHTTP serves a request to the API.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		a.preflight(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// request tells a handler about its request.
func (x *exchange) request() Request {
	return Request{Principal: x.principal, Format: x.format, ClientIP: x.api.config.Forwarded.Client(x.r), Header: x.r.Header}
}

// identify finds out who calls and whether they may.
func (x *exchange) identify() error {
	if x.route.Callers == auth.Unidentified {
		return nil
	}
	p, err := x.api.config.Auth.Authenticate(x.r)
	if err != nil {
		return err
	}
	x.principal = p
	if x.format = wire.ParseFormat(x.r.Header.Get(wire.FormatHeader)); !x.format.Stated() {
		x.format = x.api.config.Format
	}
	// Older paths name the project: it must be the caller's.
	if named := chi.URLParam(x.r, "projectId"); named != "" && named != string(p.ProjectID()) {
		return flint.ErrUserUnauthorized
	}
	return p.Authorize(x.r.Host, x.route.Scopes...)
}

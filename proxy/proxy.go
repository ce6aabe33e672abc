// Package proxy serves functions on their own domains: it looks at the Host of every request and turns those for a
// function into executions. Functions are also at a path, /fn/<project>/<function>/…, which needs no name. Everything
// else goes on to the API.
package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"flint"
	"flint/auth"
	"flint/internal/forwarded"
	"flint/internal/sparse"
	"flint/invoke"
)

// Config is what a Proxy needs.
type Config struct {
	Rule      func(ctx context.Context, domain string) (*flint.Rule, error) // flint.ErrRuleNotFound when there is none
	Invoker   *invoke.Invoker
	Auth      *auth.Authenticator // of callers, for functions that want to know them
	Domain    string              // the base domain of functions
	Forwarded forwarded.Rules
	Logger    *slog.Logger
	Next      http.Handler  // what is for no function
	Limit     time.Duration // how long a caller may take to send a body

	Protected bool     // hosts that nobody knows are refused; else they are the API's
	Hosts     []string // that are the API's for sure
	Secure    bool     // functions are reached by https only
}

// Proxy is an http.Handler. It is safe for concurrent use.
type Proxy struct {
	config Config
	pages  rendered

	mu    sync.RWMutex
	rules map[string]*flint.Rule // nil: there is none
	epoch uint64                 // counts changes, so that what was read before one is not kept after it

	storage sparse.Gate // errors of the storage
}

// maxRules bounds the memory; beyond it rules are read anew.
const maxRules = 50_000

// New makes a Proxy.
func New(c Config) *Proxy { return &Proxy{config: c, rules: map[string]*flint.Rule{}} }

// Forget drops what is known of a domain, because its rule changed; all of it for an empty one.
func (p *Proxy) Forget(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	if domain == "" {
		clear(p.rules)
		return
	}
	delete(p.rules, domain)
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if host := p.config.Forwarded.Host(r); host != r.Host {
		copied := *r
		copied.Host = host
		r = &copied
	}
	host := hostname(r.Host)
	rule, err := p.rule(r.Context(), host)
	switch {
	case err != nil:
		p.writeError(w, r, err)
	case rule != nil:
		p.serveRule(w, r, rule)
	case host == p.config.Domain:
		p.writeError(w, r, flint.ErrAccessForbidden)
	case strings.HasSuffix(host, "."+p.config.Domain):
		p.writeError(w, r, flint.ErrRuleNotFound)
	case p.config.Protected && !p.known(host):
		p.writeError(w, r, flint.ErrAccessForbidden)
	default:
		p.servePlatform(w, r)
	}
}

// hostname is a Host without its port, as rules have it.
func hostname(host string) string {
	host = strings.ToLower(host)
	if strings.Contains(host, ":") { // else an error would be made for nothing
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
	}
	return strings.TrimSuffix(host, ".")
}

// Takes reports whether a request is for a function, by its domain or its path. It may read the rule of the domain.
func (p *Proxy) Takes(r *http.Request) bool {
	rule, err := p.rule(r.Context(), hostname(p.config.Forwarded.Host(r)))
	switch {
	case err != nil:
		return false
	case rule == nil, rule.Type == flint.RuleAPI:
		return strings.HasPrefix(r.URL.Path, pathPrefix)
	}
	return rule.Type != flint.RuleRedirect
}

// known reports whether a host is the platform's own, under which nobody can pose as it.
func (p *Proxy) known(host string) bool {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.IsLoopback() || slices.Contains(p.config.Hosts, a.String())
	}
	return host == "localhost" || slices.Contains(p.config.Hosts, host)
}

// challenges is where certificate authorities look: never the functions' to answer.
const challenges = "/.well-known/acme-challenge"

func (p *Proxy) serveRule(w http.ResponseWriter, r *http.Request, rule *flint.Rule) {
	switch {
	case strings.HasPrefix(r.URL.Path, challenges):
		p.writeError(w, r, flint.ErrRouteNotFound)
	case rule.Type == flint.RuleAPI:
		p.servePlatform(w, r)
	case rule.Type == flint.RuleRedirect:
		http.Redirect(w, r, rule.RedirectURL, rule.RedirectStatus)
	default:
		p.serve(w, r, place{rule.Project, rule.Function, r.URL.RequestURI(), ""})
	}
}

// servePlatform serves what is for no domain: functions by their path, and the API.
func (p *Proxy) servePlatform(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, pathPrefix) {
		p.config.Next.ServeHTTP(w, r)
		return
	}
	at, ok := parsePath(r.URL.RequestURI())
	if !ok {
		p.writeError(w, r, flint.ErrFunctionNotFound)
		return
	}
	p.serve(w, r, at)
}

// pathPrefix is where functions are reached without a domain: /fn/<project>/<function>/…
const pathPrefix = "/fn/"

// place is what a request is for: a function, and what the function sees of the target.
type place struct {
	project  flint.ProjectID
	function flint.FunctionID
	target   string // path and query
	prefix   string // of the path, that the function does not see
}

func parsePath(uri string) (place, bool) {
	path, query, hasQuery := strings.Cut(uri, "?")
	parts := strings.SplitN(strings.TrimPrefix(path, pathPrefix), "/", 3)
	if len(parts) < 2 || !flint.ValidID(parts[0]) || !flint.ValidID(parts[1]) {
		return place{}, false
	}
	at := place{project: flint.ProjectID(parts[0]), function: flint.FunctionID(parts[1]), target: "/", prefix: pathPrefix + parts[0] + "/" + parts[1]}
	if len(parts) == 3 {
		at.target += parts[2]
	}
	if hasQuery {
		at.target += "?" + query
	}
	return at, true
}

// rule returns the rule of a host, or nil when it has none.
func (p *Proxy) rule(ctx context.Context, host string) (*flint.Rule, error) {
	p.mu.RLock()
	rule, known := p.rules[host]
	epoch := p.epoch
	p.mu.RUnlock()
	if known {
		return rule, nil
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || host == "" {
		return nil, nil //nolint:nilnil // no rule and no error is an answer
	}
	rule, err := p.config.Rule(ctx, host)
	if err != nil && !errors.Is(err, flint.ErrRuleNotFound) {
		return nil, err
	}
	if err != nil {
		rule = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch == epoch {
		if len(p.rules) >= maxRules {
			clear(p.rules)
		}
		p.rules[host] = rule
	}
	return rule, nil
}

// inMemory is how much of a body is read before a worker is asked for: a slow caller of an ordinary size holds none.
const inMemory = 256 << 10

// serve calls a function for a request.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, at place) {
	if p.config.Secure && !p.config.Forwarded.Secure(r) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		p.writeError(w, r, flint.ErrProtocol)
		return
	}
	f, err := p.config.Invoker.Function(r.Context(), at.project, at.function)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	out := w
	if c := f.Domain.CORS; c != nil {
		if isPreflight(r) {
			preflight(w, r, c)
			return
		}
		out = &corsWriter{ResponseWriter: w, rules: c, origin: r.Header.Get("Origin")}
	}
	if r.ContentLength > flint.MaxRequestBody {
		p.writeError(out, r, errTooLarge)
		return
	}
	if !f.Domain.Identify && r.ContentLength == 0 {
		if err := p.config.Invoker.Overloaded(r.Context(), at.project, at.function); err != nil {
			p.writeError(out, r, err)
			return
		}
	}
	call := &invoke.Call{
		Project: at.project, Function: at.function, Method: r.Method, Path: at.target,
		Headers: p.headers(r, at), ClientIP: p.config.Forwarded.Client(r),
	}
	if f.Domain.Identify {
		err = p.identify(r, call)
	}
	if err == nil {
		err = p.readBody(w, r, call)
	}
	if err == nil {
		err = p.config.Invoker.Serve(r.Context(), call, out, func(w http.ResponseWriter, status int, err error) {
			p.writePage(w, r, status, err)
		})
	}
	if err != nil {
		p.writeError(out, r, err)
	}
}

// identify finds out who calls, if the caller says so at all. The project is the function's.
func (p *Proxy) identify(r *http.Request, call *invoke.Call) error {
	if !hasCredentials(r) {
		return nil
	}
	asked := r.Clone(r.Context())
	asked.Header.Set(auth.ProjectHeader, string(call.Project))
	asked.Header.Del(auth.ModeHeader)
	who, err := p.config.Auth.Authenticate(asked)
	if err != nil {
		return err
	}
	if err := who.Authorize(r.Host, "executions.write", "execution.write"); err != nil {
		return err
	}
	call.Caller = invoke.Caller{Privileged: who.Privileged(), Roles: who.Roles, User: who.UserID, UserJWT: who.UserJWT, Depth: who.Depth, Hops: who.Hops}
	call.Identified = true
	return nil
}

func hasCredentials(r *http.Request) bool {
	for _, name := range []string{auth.KeyHeader, auth.JWTHeader, "X-Appwrite-Session"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return slices.ContainsFunc(r.Header.Values("Cookie"), func(c string) bool { return strings.Contains(c, "a_session_") })
}

var errTooLarge = &flint.Error{Kind: flint.TooLarge, Type: "general_body_too_large", Message: "The body of the request is larger than 20 MiB."}

// readBody takes the body into memory, or its beginning when it is long.
func (p *Proxy) readBody(w http.ResponseWriter, r *http.Request, call *invoke.Call) error {
	if r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 || r.ContentLength > 1400 { // a small one has come with the head
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.config.Limit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	if 0 < r.ContentLength && r.ContentLength <= inMemory {
		call.Body = make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, call.Body); err != nil {
			return flint.ErrBadRequest.Saying("The body of the request could not be read.").Because(err)
		}
		return nil
	}
	first := make([]byte, inMemory)
	n, err := io.ReadFull(r.Body, first)
	call.Body = first[:n]
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	case err != nil:
		return flint.ErrBadRequest.Saying("The body of the request could not be read.").Because(err)
	}
	call.More = http.MaxBytesReader(w, r.Body, int64(flint.MaxRequestBody-n))
	return nil
}

// commonNames are those of nearly all headers that clients send, as the server writes them, in lower case.
var commonNames = func() map[string]string { //nolint:gochecknoglobals // read only
	names := map[string]string{}
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie",
		"Dnt", "If-Modified-Since", "If-None-Match", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile",
		"Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc", "Traceparent",
		"Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto",
		"X-Real-Ip", "X-Request-Id", "X-Requested-With",
	} {
		names[name] = strings.ToLower(name)
	}
	return names
}()

// lower is strings.ToLower of the name of a header, with nothing new in memory for common ones.
func lower(name string) string {
	if known, ok := commonNames[name]; ok {
		return known
	}
	return strings.ToLower(name)
}

// headers are those of the request as a function sees them: names in lower case, each field on its own. How the request
// came is said by those who can know.
func (p *Proxy) headers(r *http.Request, at place) []flint.Header {
	all := make([]flint.Header, 0, len(r.Header)+4)
	all = append(all, flint.Header{Name: "host", Value: r.Host})
	for name, values := range r.Header {
		name = lower(name)
		if name == "x-forwarded-proto" || name == "x-forwarded-prefix" && at.prefix != "" {
			continue
		}
		for _, v := range values {
			all = append(all, flint.Header{Name: name, Value: v})
		}
	}
	scheme := p.config.Forwarded.Scheme(r)
	if r.TLS != nil {
		scheme = "https"
	}
	if scheme == "http" || scheme == "https" {
		all = append(all, flint.Header{Name: "x-forwarded-proto", Value: scheme})
	}
	if at.prefix != "" {
		all = append(all, flint.Header{Name: "x-forwarded-prefix", Value: at.prefix})
	}
	if r.ContentLength > 0 && r.Header.Get("Content-Length") == "" {
		all = append(all, flint.Header{Name: "content-length", Value: formatInt(r.ContentLength)})
	}
	return all
}

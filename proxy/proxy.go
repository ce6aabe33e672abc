// Package proxy serves functions on their own domains: it looks at the Host of every request and turns those for a
// function into executions. Everything else goes on to the API.
package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"flint"
	"flint/invoke"
)

// Config is what a Proxy needs.
type Config struct {
	Rule    func(ctx context.Context, domain string) (*flint.Rule, error) // flint.ErrRuleNotFound when there is none
	Invoker *invoke.Invoker
	Domain  string // the base domain of functions
	Logger  *slog.Logger
	Next    http.Handler  // what is for no function
	Limit   time.Duration // how long a caller may take to send a body
}

// Proxy is an http.Handler. It is safe for concurrent use.
type Proxy struct {
	config Config

	mu    sync.RWMutex
	rules map[string]*flint.Rule // nil: there is none
	epoch uint64                 // counts changes, so that what was read before one is not kept after it
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
	host := strings.ToLower(r.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	rule, err := p.rule(r.Context(), host)
	switch {
	case err != nil:
		p.writeError(w, r, err)
	case rule != nil:
		p.serve(w, r, rule)
	case host == p.config.Domain:
		p.writeError(w, r, flint.ErrAccessForbidden)
	case strings.HasSuffix(host, "."+p.config.Domain):
		p.writeError(w, r, flint.ErrRuleNotFound)
	default:
		p.config.Next.ServeHTTP(w, r)
	}
}

// rule returns the rule of a host, or nil when it has none.
func (p *Proxy) rule(ctx context.Context, host string) (*flint.Rule, error) {
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || host == "" {
		return nil, nil //nolint:nilnil // no rule and no error is an answer
	}
	p.mu.RLock()
	rule, known := p.rules[host]
	epoch := p.epoch
	p.mu.RUnlock()
	if known {
		return rule, nil
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

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, rule *flint.Rule) {
	if r.ContentLength > flint.MaxRequestBody {
		p.writeError(w, r, errTooLarge)
		return
	}
	call := &invoke.Call{
		Project: rule.Project, Function: rule.Function, Method: r.Method, Path: r.URL.RequestURI(),
		Headers: headers(r), ClientIP: clientIP(r),
	}
	if err := p.readBody(w, r, call); err != nil {
		p.writeError(w, r, err)
		return
	}
	err := p.config.Invoker.Serve(r.Context(), call, w, func(w http.ResponseWriter, status int, err error) {
		writePage(w, r, status, err)
	})
	if err != nil {
		p.writeError(w, r, err)
	}
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

// headers are those of the request as a function sees them: names in lower case, each field on its own.
func headers(r *http.Request) []flint.Header {
	all := make([]flint.Header, 0, len(r.Header)+3)
	all = append(all, flint.Header{Name: "host", Value: r.Host})
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if name == "x-forwarded-proto" && r.TLS != nil {
			continue
		}
		for _, v := range values {
			all = append(all, flint.Header{Name: name, Value: v})
		}
	}
	if r.TLS != nil {
		all = append(all, flint.Header{Name: "x-forwarded-proto", Value: "https"})
	}
	if r.ContentLength > 0 && r.Header.Get("Content-Length") == "" {
		all = append(all, flint.Header{Name: "content-length", Value: formatInt(r.ContentLength)})
	}
	return all
}

// clientIP is the leftmost valid address of X-Forwarded-For, or the peer's.
func clientIP(r *http.Request) string {
	for _, field := range r.Header.Values("X-Forwarded-For") {
		for part := range strings.SplitSeq(field, ",") {
			if a, err := netip.ParseAddr(strings.TrimSpace(part)); err == nil {
				return a.String()
			}
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

package flint

import (
	"net/url"
	"slices"
	"strings"
)

// DomainSettings are what a function does on its domain beyond the reference. The zero value is the reference's way.
type DomainSettings struct {
	Identify bool  `json:"identify,omitempty"` // callers who send a key, a session or a token are who they show they are
	CORS     *CORS `json:"cors,omitempty"`     // nil: the function answers browsers itself
}

// CORS says which pages of other origins may call a function, so that it need not answer browsers itself.
type CORS struct {
	Origins     []string `json:"origins"` // scheme://host[:port]; *. for all below a host; * for all
	Methods     []string `json:"methods,omitempty"`
	Headers     []string `json:"headers,omitempty"` // of requests; * for those asked for
	Exposed     []string `json:"exposed,omitempty"` // of answers
	Credentials bool     `json:"credentials,omitempty"`
	MaxAge      int      `json:"maxAge,omitempty"` // seconds that browsers remember the answer
}

// Allows reports whether pages of an origin may call the function.
func (c *CORS) Allows(origin string) bool {
	scheme, host, ok := strings.Cut(strings.ToLower(origin), "://")
	if !ok {
		return false
	}
	return slices.ContainsFunc(c.Origins, func(o string) bool {
		if o == "*" {
			return true
		}
		allowedScheme, allowed, _ := strings.Cut(strings.ToLower(o), "://")
		return scheme == allowedScheme && (host == allowed || strings.HasPrefix(allowed, "*.") && strings.HasSuffix(host, allowed[1:]))
	})
}

// ValidOrigin reports whether s can be one of CORS.Origins.
func ValidOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(strings.Replace(s, "://*.", "://", 1))
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.Fragment == "" &&
		u.User == nil && !strings.ContainsAny(u.Host, "* ,") && !strings.HasSuffix(s, "?") && !strings.HasSuffix(s, "#")
}

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"flint/internal/forwarded"
)

const (
	corsMethods = "GET, POST, PUT, PATCH, DELETE"
	corsExpose  = "X-Appwrite-Session, X-Fallback-Cookies"
	corsHeaders = "Accept, Origin, Cookie, Set-Cookie, Content-Type, Content-Range, X-Appwrite-Project, X-Appwrite-Key, " +
		"X-Appwrite-Dev-Key, X-Appwrite-Locale, X-Appwrite-Mode, X-Appwrite-JWT, X-Appwrite-Organization, " +
		"X-Appwrite-Response-Format, X-Appwrite-Timeout, X-Appwrite-ID, X-Appwrite-Timestamp, X-Appwrite-Session, " +
		"X-Appwrite-Platform, X-Appwrite-Impersonate-User-Id, X-Appwrite-Impersonate-User-Email, " +
		"X-Appwrite-Impersonate-User-Phone, X-SDK-Version, X-SDK-Name, X-SDK-Language, X-SDK-Platform, X-SDK-GraphQL, " +
		"X-SDK-Profile, Range, Cache-Control, Expires, Pragma, X-Fallback-Cookies, X-Requested-With, X-Forwarded-For, " +
		"X-Forwarded-User-Agent"
)

// preflight answers OPTIONS on every path. It lets any origin ask: the request itself decides who may read its answer.
func (a *API) preflight(w http.ResponseWriter, r *http.Request) {
	x := &exchange{api: a, r: r, id: newRequestID()}
	x.always(w.Header())
	a.allowOrigin(w.Header(), r, true)
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) allowOrigin(h http.Header, r *http.Request, preflight bool) {
	origin := strings.ToLower(r.Header.Get("Origin"))
	if !preflight && origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Expose-Headers", corsExpose)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Max-Age", "86400")
	h.Add("Vary", "Origin")
	if u, err := url.Parse(origin); err == nil && u.Host != "" && (preflight || a.allowedHost(u.Hostname())) {
		h.Set("Access-Control-Allow-Origin", origin)
	}
}

// allowedHost reports whether pages of a host may read answers.
func (a *API) allowedHost(host string) bool {
	return forwarded.Loopback(host) || slices.Contains(a.config.Hosts, host)
}

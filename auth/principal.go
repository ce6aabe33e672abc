package auth

import (
	"encoding/json"
	"net"
	"slices"

	"flint"
)

// Public is the scope of what everyone may do. A route that needs no other must say so.
const Public = "public"

// Kind is what sort of caller a Principal is.
type Kind uint8

// The kinds of caller.
const (
	Guest Kind = iota
	Key        // a project's key, stored or generated
	User       // an end user of a project
	Admin      // a member of the project's team
)

// Callers says for which kinds of caller a route is meant. It is documentation: scopes decide.
type Callers uint8

// The sets of callers. Unidentified alone means that a route does not look at credentials at all.
const (
	Unidentified Callers = 1 << iota
	Guests
	Keys
	Users
	Admins

	Servers = Keys | Admins
	Clients = Guests | Users
)

// Principal is who sends a request.
type Principal struct {
	Kind    Kind
	Project *flint.Project // nil: the platform's own project
	Scopes  []string
	Roles   []string // those that a function's execute list may name
	KeyID   string   // empty for generated keys
	KeyName string
	UserID  string
	UserJWT string // for the functions that the user calls
	Depth   int    // how many functions wait for an answer in turn; 0: the caller is none
	Hops    int    // how many triggers led to the caller's own call in turn; 0: none
}

// Actor is the principal as events name it.
func (p *Principal) Actor() flint.Actor { return flint.Actor{User: p.UserID, Hops: p.Hops} }

var (
	guestScopes = []string{ //nolint:gochecknoglobals // read only
		"global", Public, "home", "console", "graphql", "sessions.write", "documents.read", "documents.write", "rows.read",
		"rows.write", "embeddings.write", "files.read", "files.write", "locale.read", "avatars.read", "executions.write",
	}
	keyScopes = []string{"global", "health.read", "graphql"} //nolint:gochecknoglobals // what every key holds
)

func newGuest(p *flint.Project) *Principal {
	return &Principal{Kind: Guest, Project: p, Scopes: guestScopes, Roles: []string{"any", "guests"}}
}

func newKey(p *flint.Project, scopes []string, k *flint.Key) *Principal {
	return &Principal{Kind: Key, Project: p, Scopes: scopes, KeyID: k.ID, KeyName: k.Name}
}

// Privileged reports whether permissions and execute roles do not bind the caller, and whether they see logs.
func (p *Principal) Privileged() bool { return p.Kind == Key || p.Kind == Admin }

// ProjectID returns the project's identifier, or nothing.
func (p *Principal) ProjectID() flint.ProjectID {
	if p.Project == nil {
		return ""
	}
	return p.Project.ID
}

// Holds reports whether the caller has the scope.
func (p *Principal) Holds(scope string) bool {
	return scope == Public || slices.Contains(p.Scopes, scope) || p.Kind == Key && slices.Contains(keyScopes, scope)
}

// Authorize returns nil if the caller has one of the scopes. host is the one that the request was sent to.
func (p *Principal) Authorize(host string, scopes ...string) error {
	if !slices.ContainsFunc(scopes, p.Holds) {
		names, _ := json.Marshal(scopes) // strings always marshal
		return flint.ErrUnauthorizedScope.Saying("%s (role: %s) missing scopes (%s)", p.identity(host), p.role(), names)
	}
	if p.Project == nil && !slices.Contains(scopes, Public) {
		return flint.ErrAccessForbidden.Saying("No Appwrite project was specified. Please specify your project ID when initializing your Appwrite SDK.")
	}
	return nil
}

func (p *Principal) identity(host string) string {
	if p.Kind != Key {
		return "User"
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return "app." + string(p.ProjectID()) + "@service." + host
}

func (p *Principal) role() string {
	switch p.Kind {
	case Guest:
		return "guests"
	case Key:
		return "applications"
	case User:
		return "users"
	case Admin:
		return "owner"
	}
	return "guests"
}

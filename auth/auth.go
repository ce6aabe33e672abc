// Package auth finds out who sends a request and what they may do: a project's keys, the short-lived keys that functions
// get, and guests.
//
// Look-ups of projects and keys are kept in memory so that a warm call does not read the database; whoever changes a
// project or a key calls [Authenticator.Forget] or [Authenticator.ForgetProject]. An announcement that gets lost is
// healed by the age limit of the entries.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"flint"
)

// Headers that carry credentials.
const (
	ProjectHeader = "X-Appwrite-Project"
	KeyHeader     = "X-Appwrite-Key"
	JWTHeader     = "X-Appwrite-Jwt" // in the canonical form of net/http
	ModeHeader    = "X-Appwrite-Mode"
)

// consoleProject names the platform's own project, which is not stored.
const consoleProject = "console"

// Config is what an Authenticator needs.
type Config struct {
	Project func(context.Context, flint.ProjectID) (*flint.Project, error) // ErrProjectNotFound when unknown
	Key     func(ctx context.Context, secret string) (*flint.Key, error)   // (nil, nil) when unknown
	Signer  *Signer

	Entries int           // of each cache; 0: 10000
	MaxAge  time.Duration // of a cached entry; 0: one minute
}

// Authenticator identifies callers. It is safe for concurrent use.
type Authenticator struct {
	config   Config
	projects *cache[flint.ProjectID, *flint.Project]
	keys     *cache[string, *flint.Key]
}

// New returns an Authenticator.
func New(c Config) *Authenticator {
	if c.Project == nil || c.Key == nil || c.Signer == nil {
		panic("auth: Project, Key and Signer are required")
	}
	if c.Entries <= 0 {
		c.Entries = 10_000
	}
	if c.MaxAge <= 0 {
		c.MaxAge = time.Minute
	}
	return &Authenticator{
		config:   c,
		projects: newCache[flint.ProjectID, *flint.Project](c.Entries, c.MaxAge),
		keys:     newCache[string, *flint.Key](c.Entries, c.MaxAge),
	}
}

// HashKey returns the name under which a key is cached and announced: the hexadecimal SHA-256 of its secret.
func HashKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Forget drops what is remembered of the key with that hash, or of all keys when the hash is empty.
func (a *Authenticator) Forget(keyHash string) {
	if keyHash == "" {
		a.keys.clear()
		return
	}
	a.keys.drop(keyHash)
}

// ForgetProject drops what is remembered of a project, and every key: the keys of a deleted project die with it.
func (a *Authenticator) ForgetProject(id flint.ProjectID) {
	a.projects.drop(id)
	a.keys.clear()
}

// ForgetAll drops everything that is remembered, because announcements may have been missed.
func (a *Authenticator) ForgetAll() {
	a.projects.clear()
	a.keys.clear()
}

// Authenticate returns who sends r. An error is what the client is to be told.
func (a *Authenticator) Authenticate(r *http.Request) (*Principal, error) {
	ctx := r.Context()
	header := r.Header.Get(ProjectHeader)
	id, mode := header, r.Header.Get(ModeHeader)
	if r.URL.RawQuery != "" && (id == "" || mode == "") {
		query := r.URL.Query()
		if id == "" {
			id = query.Get("project")
		}
		if mode == "" {
			mode = query.Get("mode")
		}
	}
	secret := r.Header.Get(KeyHeader)
	if secret != "" && header == "" {
		return nil, flint.ErrProjectIDMissing
	}
	if id == consoleProject {
		id = ""
	}
	if id == "" && mode == "admin" {
		return nil, flint.ErrBadRequest
	}
	var project *flint.Project
	if id != "" {
		if !flint.ValidID(id) {
			return nil, flint.ErrProjectNotFound
		}
		var err error
		if project, err = a.project(ctx, flint.ProjectID(id)); err != nil {
			return nil, err
		}
		// Verified even if a key decides in the end: a client that sends a bad token is told so. No user exists whom a
		// good one could name, and a token without its user is a guest's.
		if token := r.Header.Get(JWTHeader); token != "" {
			if err := a.config.Signer.verify(token, nil); err != nil {
				return nil, flint.ErrInvalidJWT.Saying("Failed to verify JWT. %s", reason(err))
			}
		}
	}
	if secret == "" {
		return newGuest(project), nil
	}
	return a.byKey(ctx, project, secret)
}

func (a *Authenticator) project(ctx context.Context, id flint.ProjectID) (*flint.Project, error) {
	return a.projects.get(id, func() (*flint.Project, bool, error) {
		p, err := a.config.Project(ctx, id)
		return p, p != nil, err
	})
}

// byKey tells keys apart by the word before the first underscore. What is not a stored key proves itself by its
// signature or counts for nothing.
func (a *Authenticator) byKey(ctx context.Context, project *flint.Project, secret string) (*Principal, error) {
	prefix, token, found := strings.Cut(secret, "_")
	if !found {
		prefix = "standard"
	}
	switch prefix {
	case "ephemeral", "dynamic":
		var claims keyClaims
		if project == nil || a.config.Signer.verify(token, &claims) != nil || claims.ProjectID != string(project.ID) {
			return newGuest(project), nil //nolint:nilerr // what proves nothing counts for nothing
		}
		caller := newKey(project, claims.Scopes, &flint.Key{Name: claims.Name})
		caller.Depth, caller.Hops = claims.Depth, claims.Hops
		return caller, nil
	case "standard", "account", "organization":
		hash := HashKey(secret)
		key, err := a.keys.get(hash, func() (*flint.Key, bool, error) {
			k, err := a.config.Key(ctx, secret)
			return k, k != nil, err
		})
		switch {
		case err != nil:
			return nil, err
		case key == nil:
			return nil, flint.ErrUserUnauthorized
		case project == nil || key.Project != project.ID:
			return nil, flint.ErrProjectIDMissing
		case key.Expired(time.Now()):
			return nil, flint.ErrKeyExpired
		}
		return newKey(project, key.Scopes, key), nil
	}
	return newGuest(project), nil
}

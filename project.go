package flint

import (
	"slices"
	"time"
)

// Errors about projects and their keys.
var (
	ErrProjectNotFound     = kind(NotFound, "project_not_found", "Project with the requested ID could not be found. Please check the value of the X-Appwrite-Project header to ensure the correct project ID is being used.")
	ErrProjectIDMissing    = kind(Forbidden, "project_id_missing", "Project ID is missing. Please check the value of the X-Appwrite-Project header to ensure the correct project ID is being used.")
	ErrProjectHasFunctions = kind(Conflict, "project_has_functions", "The project has functions. Delete them first.")
	ErrProjectExists       = kind(Conflict, "project_already_exists", "Project with the requested ID already exists. Try again with a different ID or use ID.unique() to generate a unique ID.")
	ErrKeyExpired          = kind(Unauthorized, "project_key_expired", "The project key has expired. Please generate a new key using the Appwrite console.")
)

// Project separates one team's functions and keys from another's.
type Project struct {
	ID                   ProjectID
	Name                 string
	CreatedAt, UpdatedAt time.Time
}

// Key is an API key of a project. Secret is the whole text that a client sends.
type Key struct {
	ID                   string
	Project              ProjectID
	Name                 string
	Secret               string
	Scopes               []string
	CreatedAt, UpdatedAt time.Time
	ExpireAt             time.Time // zero: never
}

// Expired reports whether the key may no longer be used at t.
func (k *Key) Expired(t time.Time) bool { return !k.ExpireAt.IsZero() && !t.Before(k.ExpireAt) }

// Scopes returns every scope that a key or a function of a project may hold, in the reference's order.
func Scopes() []string {
	var all []string
	for _, noun := range []string{
		"project", "keys", "platforms", "mocks", "policies", "project.policies", "project.oauth2", "templates", "stages",
		"users", "sessions", "teams", "databases", "tables", "columns", "indexes", "rows", "collections", "attributes", "documents",
		"buckets", "files", "tokens", "functions", "executions", "execution", "sites", "log", "providers", "topics", "subscribers",
		"targets", "messages", "rules", "webhooks", "migrations", "schedules", "vcs", "insights", "reports", "presences",
	} {
		all = append(all, noun+".read", noun+".write")
	}
	return append(all, "embeddings.write", "locale.read", "avatars.read", "health.read", "assistant.read")
}

// ValidScope reports whether a key or a function may hold s.
func ValidScope(s string) bool { return slices.Contains(Scopes(), s) }

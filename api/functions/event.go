package functions

import (
	"slices"
	"strings"

	"flint"
)

// resource is a kind of thing that events are about: the actions on it with their attributes, and what is below it.
type resource struct {
	actions []string
	updates []string // attributes that an update may name
	below   map[string]*resource
}

func crud(below map[string]*resource) *resource {
	return &resource{actions: []string{"create", "update", "delete"}, below: below}
}

// eventTree returns what the first part of an event may be. Events of functions are not among them: a function must not
// trigger itself.
func eventTree() map[string]*resource {
	rows := func() *resource {
		return &resource{actions: []string{"create", "update", "upsert", "delete"}}
	}
	tables := crud(map[string]*resource{"rows": rows(), "indexes": crud(nil), "columns": crud(nil)})
	collections := crud(map[string]*resource{"documents": rows(), "indexes": crud(nil), "attributes": crud(nil)})
	two := func(actions ...string) *resource { return &resource{actions: actions} }
	return map[string]*resource{
		"users": {
			actions: []string{"create", "delete", "update"},
			updates: []string{"email", "name", "password", "status", "prefs", "phone", "mfa", "labels", "verification", "impersonator"},
			below: map[string]*resource{
				"sessions": two("create", "delete"), "recovery": two("create", "update"), "verification": two("create", "update"),
				"targets": crud(nil), "tokens": two("create"),
			},
		},
		"databases":   crud(map[string]*resource{"tables": tables, "collections": collections}),
		"tablesdb":    crud(map[string]*resource{"tables": tables}),
		"documentsdb": crud(map[string]*resource{"collections": collections}),
		"vectorsdb":   crud(map[string]*resource{"collections": collections}),
		"buckets":     crud(map[string]*resource{"files": crud(nil)}),
		"teams": {
			actions: []string{"create", "delete", "update"}, updates: []string{"prefs"},
			below: map[string]*resource{"memberships": {actions: []string{"create", "delete", "update"}, updates: []string{"status"}}},
		},
		"sites":     crud(map[string]*resource{"deployments": crud(nil)}),
		"messages":  two("create", "update"),
		"topics":    crud(map[string]*resource{"subscribers": two("create", "delete")}),
		"providers": crud(nil),
		"rules":     crud(nil),
		"reports":   crud(map[string]*resource{"insights": crud(nil)}),
		"schedules": two("create"),
	}
}

// checkEvent says what is wrong with an event that is to trigger a function.
func checkEvent(event string) string {
	const wrong = "Event is not valid."
	if strings.HasPrefix(event, "functions.") {
		return "Triggering a function on a function event is not allowed."
	}
	parts := strings.Split(event, ".")
	if len(parts) < 2 || len(parts) > 7 {
		return wrong
	}
	kinds := eventTree()
	for len(parts) >= 2 {
		r, ok := kinds[parts[0]]
		if !ok || parts[1] != "*" && !flint.ValidID(parts[1]) {
			return wrong
		}
		if parts = parts[2:]; len(parts) == 0 {
			return ""
		}
		if slices.Contains(r.actions, parts[0]) {
			if len(parts) == 1 || len(parts) == 2 && parts[0] == "update" && slices.Contains(r.updates, parts[1]) {
				return ""
			}
			return wrong
		}
		kinds = r.below
	}
	return wrong
}

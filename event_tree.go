package flint

import (
	"slices"
	"strings"
)

// eventKind is a kind of thing that events are about: the actions on it with their attributes, and what is below it.
type eventKind struct {
	actions []string
	updates []string // attributes that an update may name
	below   map[string]*eventKind
}

func changes(below map[string]*eventKind) *eventKind {
	return &eventKind{actions: []string{"create", "update", "delete"}, below: below}
}

// eventTree returns what the first part of an event's name may be.
func eventTree() map[string]*eventKind {
	rows := func() *eventKind {
		return &eventKind{actions: []string{"create", "update", "upsert", "delete"}}
	}
	tables := changes(map[string]*eventKind{"rows": rows(), "indexes": changes(nil), "columns": changes(nil)})
	collections := changes(map[string]*eventKind{"documents": rows(), "indexes": changes(nil), "attributes": changes(nil)})
	two := func(actions ...string) *eventKind { return &eventKind{actions: actions} }
	return map[string]*eventKind{
		"users": {
			actions: []string{"create", "delete", "update"},
			updates: []string{"email", "name", "password", "status", "prefs", "phone", "mfa", "labels", "verification", "impersonator"},
			below: map[string]*eventKind{
				"sessions": two("create", "delete"), "recovery": two("create", "update"), "verification": two("create", "update"),
				"targets": changes(nil), "tokens": two("create"),
			},
		},
		"databases":   changes(map[string]*eventKind{"tables": tables, "collections": collections}),
		"tablesdb":    changes(map[string]*eventKind{"tables": tables}),
		"documentsdb": changes(map[string]*eventKind{"collections": collections}),
		"vectorsdb":   changes(map[string]*eventKind{"collections": collections}),
		"buckets":     changes(map[string]*eventKind{"files": changes(nil)}),
		"teams": {
			actions: []string{"create", "delete", "update"}, updates: []string{"prefs"},
			below: map[string]*eventKind{"memberships": {actions: []string{"create", "delete", "update"}, updates: []string{"status"}}},
		},
		"functions": changes(map[string]*eventKind{"deployments": changes(nil), "executions": changes(nil)}),
		"sites":     changes(map[string]*eventKind{"deployments": changes(nil)}),
		"messages":  two("create", "update"),
		"topics":    changes(map[string]*eventKind{"subscribers": two("create", "delete")}),
		"providers": changes(nil),
		"rules":     changes(nil),
		"reports":   changes(map[string]*eventKind{"insights": changes(nil)}),
		"schedules": two("create"),
	}
}

// ValidEventName reports whether something could be subscribed to by a name. What it names need not be there.
func ValidEventName(event string) bool {
	parts := strings.Split(event, ".")
	if len(parts) < 2 || len(parts) > 7 {
		return false
	}
	kinds := eventTree()
	for len(parts) >= 2 {
		r, ok := kinds[parts[0]]
		if !ok || parts[1] != "*" && !ValidID(parts[1]) {
			return false
		}
		if parts = parts[2:]; len(parts) == 0 {
			return true
		}
		if slices.Contains(r.actions, parts[0]) {
			return len(parts) == 1 || len(parts) == 2 && parts[0] == "update" && slices.Contains(r.updates, parts[1])
		}
		kinds = r.below
	}
	return false
}

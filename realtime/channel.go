package realtime

import (
	"slices"
	"strings"

	"flint"
)

// topic is what an event is about.
type topic struct {
	kind   string   // the types of its pattern: functions.executions
	ids    []string // as many as there are types
	action string   // create, update, …; empty: none
}

func topicOf(e *flint.Event) topic {
	t := topic{ids: e.IDs}
	parts := strings.Split(e.Pattern, ".")
	var kinds []string
	for len(parts) >= 2 && strings.HasPrefix(parts[1], "[") {
		kinds, parts = append(kinds, parts[0]), parts[2:]
	}
	t.kind = strings.Join(kinds, ".")
	if len(parts) > 0 {
		t.action = parts[0]
	}
	return t
}

// scope is what a key must hold to hear of it.
func (t topic) scope() string {
	switch t.kind {
	case "functions.executions":
		return "executions.read"
	case "variables":
		return "project.read"
	}
	first, _, _ := strings.Cut(t.kind, ".")
	return first + ".read"
}

// channels are those on which an event is heard. Clients hear of what has readers only, the others are a server's.
func (t topic) channels(project flint.ProjectID) []string {
	all := []string{"console", "projects." + string(project)}
	switch t.kind {
	case "functions.executions":
		all = append(all, "executions", "executions."+t.ids[1], "functions."+t.ids[0])
	case "functions", "functions.deployments":
		all = append(all, "functions."+t.ids[0])
	}
	return withActions(all, t.action)
}

// actions have channels of their own.
func isAction(s string) bool {
	return s == "create" || s == "update" || s == "upsert" || s == "delete"
}

// withActions adds the siblings <channel>.<action> of those channels that have them.
func withActions(channels []string, action string) []string {
	if !isAction(action) {
		return channels
	}
	for _, c := range slices.Clip(channels) {
		parts := strings.Split(c, ".")
		if last := len(parts) - 1; acted(parts[last]) || last > 0 && acted(parts[last-1]) {
			channels = append(channels, c+"."+action)
		}
	}
	return channels
}

// acted reports whether channels of that resource have siblings for actions.
func acted(resource string) bool {
	switch resource {
	case "documents", "rows", "files", "executions", "functions", "account", "teams", "memberships", "presences":
		return true
	}
	return false
}

// normal returns the channels that a caller subscribes to: each once, and nobody else's account.
func normal(channels []string, user string) []string {
	var all []string
	for _, c := range channels {
		if rest, ok := strings.CutPrefix(c, "account"); ok && (rest == "" || rest[0] == '.') {
			name, _, _ := strings.Cut(strings.TrimPrefix(rest, "."), ".")
			switch {
			case user == "" && name != "" && !isAction(name), user != "" && name != "" && name != user && !isAction(name):
				continue
			case user != "" && name != user:
				c = "account." + user + rest
			}
		}
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

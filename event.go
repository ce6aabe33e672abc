package flint

import (
	"fmt"
	"strings"
	"time"
)

// Event is something that happened to a noun of a project. It is written with the change that it tells of.
type Event struct {
	Seq       int64 // grows in the order in which events were committed
	Project   ProjectID
	CreatedAt time.Time
	Pattern   string   // such as functions.[functionId].deployments.[deploymentId].create
	IDs       []string // what stands for the brackets, in their order
	Payload   []byte   // JSON of what it happened to; empty: the row is final and says it itself
	User      string   // who caused it; empty: a key or the platform
}

// Names returns every name by which the event can be subscribed to.
func (e *Event) Names() []string { return EventNames(e.Pattern, e.IDs...) }

// twins are the parts of a database's names that have a second name.
var twins = map[string]string{ //nolint:gochecknoglobals // read only
	"collections": "tables", "documents": "rows", "attributes": "columns",
	"tables": "collections", "rows": "documents", "columns": "attributes",
}

// EventNames returns the names of an event, the most telling first: with its action, without, and of the things that it
// happened inside of, each with every combination of identifiers and asterisks. ids stand for the brackets of the
// pattern. It panics when they are not as many: patterns are code.
func EventNames(pattern string, ids ...string) []string {
	parts := strings.Split(pattern, ".")
	var resources []string // type.[id] pairs
	for len(parts) >= 2 && strings.HasPrefix(parts[1], "[") {
		resources = append(resources, parts[0])
		parts = parts[2:]
	}
	if len(resources) == 0 || len(resources) != len(ids) || len(parts) > 2 {
		panic(fmt.Sprintf("flint: event %s cannot be made of %d identifiers", pattern, len(ids)))
	}
	var names []string
	add := func(depth int, end ...string) {
		names = append(names, resourceNames(resources[:depth], ids[:depth], end)...)
	}
	depth := len(resources)
	switch {
	case len(parts) == 2 && depth == 1: // the whole name comes second: subscribers see the plain action first
		add(1, parts[0])
		add(1, parts...)
	case len(parts) == 2:
		add(depth, parts...)
		add(depth, parts[0])
	case len(parts) == 1:
		add(depth, parts[0])
	}
	add(depth)
	for above := depth - 1; above > 0; above-- {
		if len(parts) == 2 && above == 1 {
			add(1, parts...)
		}
		add(above)
	}
	return names
}

// resourceNames returns the names of one level: all identifiers, all asterisks, then the mixtures.
func resourceNames(resources, ids, end []string) []string {
	masks := []int{0}
	if full := 1<<len(ids) - 1; full > 0 {
		masks = append(masks, full)
		for m := 1; m < full; m++ {
			masks = append(masks, m)
		}
	}
	names := make([]string, 0, 2*len(masks))
	for _, mask := range masks {
		var plain, twin []string
		mirrored := false
		for i, resource := range resources {
			id := ids[i]
			if mask>>(len(ids)-1-i)&1 == 1 {
				id = "*"
			}
			other := resource
			if t := twins[resource]; t != "" && i > 0 && resources[0] == "databases" {
				other, mirrored = t, true
			}
			plain, twin = append(plain, resource, id), append(twin, other, id)
		}
		names = append(names, strings.Join(append(plain, end...), "."))
		if mirrored {
			names = append(names, strings.Join(append(twin, end...), "."))
		}
	}
	return names
}

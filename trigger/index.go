package trigger

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"flint"
	"flint/store"
)

// maxNames bounds the subscriptions in memory; beyond it all are read anew.
const maxNames = 200_000

// index knows who wants which event. It follows the events themselves: a change of a function or a webhook has its event,
// which comes before all events that the change could be meant for. What is read after that is as it was then, or newer.
// Only the relay touches it.
type index struct {
	store    *store.Store
	projects map[flint.ProjectID]*subscriptions
	names    int
}

// subscriptions are those of one project.
type subscriptions struct {
	byName map[string]map[subscriber]store.Subscriber
	names  map[subscriber][]string
	stale  map[subscriber]bool // to be read anew
}

type subscriber struct {
	function flint.FunctionID
	webhook  flint.WebhookID
}

func newIndex(s *store.Store) *index {
	return &index{store: s, projects: map[flint.ProjectID]*subscriptions{}}
}

// follow notes what events say of those who subscribe, and reports whether they say anything. It comes before match is
// asked about any of them.
func (x *index) follow(events []*flint.Event) (changed bool) {
	for _, e := range events {
		if len(e.IDs) == 0 {
			continue
		}
		var who subscriber
		switch {
		case strings.HasPrefix(e.Pattern, "functions.[functionId].executions."):
			continue
		case strings.HasPrefix(e.Pattern, "functions."):
			who.function = flint.FunctionID(e.IDs[0])
		case strings.HasPrefix(e.Pattern, "webhooks."):
			who.webhook = flint.WebhookID(e.IDs[0])
		default:
			continue
		}
		changed = true
		if p := x.projects[e.Project]; p != nil {
			p.stale[who] = true
		}
	}
	return changed
}

// some reports whether somebody of a project wants events at all.
func (x *index) some(ctx context.Context, project flint.ProjectID) (bool, error) {
	p, err := x.project(ctx, project)
	return err == nil && len(p.names) > 0, err
}

// match returns who of a project wants an event with these names, each once, functions first.
func (x *index) match(ctx context.Context, project flint.ProjectID, names []string) ([]store.Subscriber, error) {
	p, err := x.project(ctx, project)
	if err != nil {
		return nil, err
	}
	var found map[subscriber]store.Subscriber
	for _, name := range names {
		for who, s := range p.byName[name] {
			if found == nil {
				found = map[subscriber]store.Subscriber{}
			}
			found[who] = s
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b store.Subscriber) int {
		return cmp.Or(cmp.Compare(b.Function, a.Function), cmp.Compare(a.ID, b.ID))
	}), nil
}

func (x *index) project(ctx context.Context, id flint.ProjectID) (*subscriptions, error) {
	p := x.projects[id]
	if p == nil {
		all, err := x.store.Subscribers(ctx, id)
		if err != nil {
			return nil, err
		}
		if x.names > maxNames {
			clear(x.projects)
			x.names = 0
		}
		p = &subscriptions{byName: map[string]map[subscriber]store.Subscriber{}, names: map[subscriber][]string{}, stale: map[subscriber]bool{}}
		x.projects[id] = p
		x.names++ // a project counts although nobody subscribes
		for _, s := range all {
			x.add(p, s)
		}
	}
	for who := range p.stale {
		read := func() ([]store.Subscriber, error) { return x.store.SubscribedFunction(ctx, id, who.function) }
		if who.function == "" {
			read = func() ([]store.Subscriber, error) { return x.store.SubscribedWebhook(ctx, id, who.webhook) }
		}
		now, err := read()
		if err != nil {
			return nil, err
		}
		x.remove(p, who)
		for _, s := range now {
			x.add(p, s)
		}
		delete(p.stale, who)
	}
	return p, nil
}

func (x *index) add(p *subscriptions, s store.Subscriber) {
	who := subscriber{s.Function, s.ID}
	for _, name := range s.Events {
		if p.byName[name] == nil {
			p.byName[name] = map[subscriber]store.Subscriber{}
		}
		p.byName[name][who] = s
	}
	p.names[who] = s.Events
	x.names += len(s.Events)
}

func (x *index) remove(p *subscriptions, who subscriber) {
	for _, name := range p.names[who] {
		if delete(p.byName[name], who); len(p.byName[name]) == 0 {
			delete(p.byName, name)
		}
	}
	x.names -= len(p.names[who])
	delete(p.names, who)
}

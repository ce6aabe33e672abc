package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"flint"
	"flint/internal/keepalive"
)

// function is what the pool knows of one function, across its targets. Its lock comes before those of its groups, and
// theirs before the pool's.
type function struct {
	history keepalive.History

	mu      sync.Mutex
	groups  []*group
	current *group // of the newest target
	newest  uint64 // the order of that target
	gone    bool   // no longer the pool's
}

type functionKey struct {
	project  flint.ProjectID
	function flint.FunctionID
}

// maxFunctions is how many functions without workers are remembered for what was learned about them.
const maxFunctions = 10_000

// functionOf returns what is known of a function. With create there is always something, unless the pool is closed.
func (p *Pool) functionOf(key functionKey, create bool) *function {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.functions[key]
	if f == nil && create && !p.closed {
		f = &function{}
		p.functions[key] = f
	}
	return f
}

// groupOf returns the group of a target. adopt makes it the one that calls go to from now on, unless a newer target is
// known already; the workers of the others go when their calls have ended.
func (p *Pool) groupOf(t *Target, adopt bool) (*group, error) {
	for {
		f := p.functionOf(functionKey{t.Project, t.Function}, true)
		if f == nil {
			return nil, flint.ErrShuttingDown
		}
		f.mu.Lock()
		if !f.gone {
			defer f.mu.Unlock()
			return f.group(p, t, adopt), nil
		}
		f.mu.Unlock()
	}
}

// group finds or makes the group of a target. The lock is held.
func (f *function) group(p *Pool, t *Target, adopt bool) *group {
	i := slices.IndexFunc(f.groups, func(g *group) bool { return g.target.Key == t.Key })
	var g *group
	if i >= 0 {
		g = f.groups[i]
	} else {
		g = &group{
			pool: p, function: f, target: t, concurrency: t.Runtime.Language.Worker.Concurrency, scaling: t.Scaling, lastUse: time.Now(),
			replaced: f.current != nil, // until it is adopted
		}
		f.groups = append(f.groups, g)
	}
	t.group.Store(g)
	if adopt && (f.current == nil || t.Order >= f.newest) {
		f.adopt(g, t)
	}
	return g
}

// adopt makes a group the current one. The lock is held.
func (f *function) adopt(g *group, t *Target) {
	f.newest, f.current = t.Order, g
	now := time.Now()
	g.mu.Lock()
	g.replaced, g.prepared, g.scaling, g.linger = false, 0, t.Scaling, time.Time{}
	g.grantWaiting()
	g.scale()
	g.tidy(now)
	keep, _ := g.warm(now)
	g.startWarm(keep, now)
	g.mu.Unlock()
	for _, o := range f.groups {
		if o != g {
			o.replace(t, now)
		}
	}
}

// replace sends the workers of a group away, each after its calls. One of another deployment stays for a moment: who rolls
// back soon finds it warm. A changed variable leaves nothing behind.
func (g *group) replace(by *Target, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.replaced && g.target.Deployment != by.Deployment {
		g.linger = now.Add(g.pool.config.Linger)
	} else if g.target.Deployment == by.Deployment {
		g.linger = time.Time{}
	}
	g.replaced = true
	g.tidy(now)
}

// Adopt makes a target the one that its function's workers serve: those of older targets go when their calls have
// ended, and as many of the new one are made ready as should be. Targets may come in any order: the newest stays.
func (p *Pool) Adopt(t *Target) {
	_, _ = p.groupOf(t, true) // a pool that is closed has no workers to make ready
}

// preparedFor is how long prepared workers wait to be adopted.
const preparedFor = 10 * time.Second

// Prepare makes workers of a target ready that calls do not go to yet: as many as are busy with its function now. It
// returns when they are ready or ctx has ended; an error means that none is. Calls of the function go on meanwhile.
func (p *Pool) Prepare(ctx context.Context, t *Target) error {
	g, err := p.groupOf(t, false)
	if err != nil {
		return err
	}
	f := g.function
	f.mu.Lock()
	current := f.current
	f.mu.Unlock()
	n := max(1, t.Scaling.MinWarm)
	if current != nil && current != g {
		current.mu.Lock()
		for _, w := range current.workers {
			if w.inFlight > 1 || w.inFlight > 0 && w.concurrency == 1 {
				n++
			}
		}
		n = min(max(n-1, t.Scaling.MinWarm, 1), current.usable()+1)
		current.mu.Unlock()
	}
	g.mu.Lock()
	now := time.Now()
	g.retry = time.Time{} // somebody hopes that it is better than before
	g.prepared, g.held = n, now.Add(preparedFor)
	g.startWarm(n, now)
	g.mu.Unlock()
	return g.await(ctx, n)
}

// busyPace is how many calls a second make a function busy, although none may run at the moment of looking.
const busyPace = 5

// Known reports whether the pool holds anything of a function, and whether its workers have calls now or are to be kept
// warm: then a change of it is worth preparing.
func (p *Pool) Known(project flint.ProjectID, id flint.FunctionID) (known, busy bool) {
	f := p.functionOf(functionKey{project, id}, false)
	if f == nil {
		return false, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.current; g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		busy = g.inFlight > 0 || g.waiting.n > 0 || g.pace >= busyPace || g.scaling.MinWarm > 0 && len(g.workers) > 0
	}
	return true, busy
}

// Dismiss lets the workers of a function go that cannot be called any more, each after its calls.
func (p *Pool) Dismiss(project flint.ProjectID, id flint.FunctionID) {
	f := p.functionOf(functionKey{project, id}, false)
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		g.mu.Lock()
		g.replaced, g.linger = true, time.Time{}
		g.tidy(time.Now())
		g.mu.Unlock()
	}
}

// Forget ends the workers of a function that is gone; calls in them end with the reason.
func (p *Pool) Forget(project flint.ProjectID, id flint.FunctionID, reason string) {
	key := functionKey{project, id}
	p.mu.Lock()
	f := p.functions[key]
	delete(p.functions, key)
	p.mu.Unlock()
	if f == nil {
		return
	}
	f.mu.Lock()
	f.gone = true
	groups := f.groups
	f.groups, f.current = nil, nil
	f.mu.Unlock()
	for _, g := range groups {
		g.end(reason)
		p.mu.Lock()
		p.satisfied(g)
		p.mu.Unlock()
	}
}

// all returns the functions that the pool knows.
func (p *Pool) all() map[functionKey]*function {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[functionKey]*function, len(p.functions))
	maps.Copy(all, p.functions)
	return all
}

// snapshot returns the groups of all functions.
func (p *Pool) snapshot() []*group {
	var all []*group
	for _, f := range p.all() {
		f.mu.Lock()
		all = append(all, f.groups...)
		f.mu.Unlock()
	}
	return all
}

// reap looks after every function: what is idle goes, what should be warm is started.
func (p *Pool) reap(now time.Time) {
	functions := p.all()
	for key, f := range functions {
		f.mu.Lock()
		f.groups = slices.DeleteFunc(f.groups, func(g *group) bool { return g.reap(now) })
		if f.current != nil && !slices.Contains(f.groups, f.current) {
			f.current = nil
		}
		if len(f.groups) == 0 && (!f.history.Learned() || len(functions) > maxFunctions) {
			p.mu.Lock()
			if p.functions[key] == f {
				delete(p.functions, key)
			}
			p.mu.Unlock()
			f.gone = true
		}
		f.mu.Unlock()
	}
}

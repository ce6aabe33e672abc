package worker

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"flint"
)

// holding is a function's share of the places on this node.
type holding struct {
	project  flint.ProjectID
	function flint.FunctionID
	workers  int       // that it has or starts; those that are going do not count
	since    time.Time // since when it has wanted another
}

// nextPlace returns who gets a free place, as an index into wanting: of the project that has the fewest, the function
// that has the fewest, and of those the one that has waited longest.
func nextPlace(wanting, all []holding) int {
	projects := placesOf(all)
	best := 0
	for i, h := range wanting {
		b := wanting[best]
		switch p, q := projects[h.project], projects[b.project]; {
		case p != q && p > q, p == q && h.workers > b.workers, p == q && h.workers == b.workers && !h.since.Before(b.since):
		default:
			best = i
		}
	}
	return best
}

// donor returns who gives a place to a function, as an index into all, or -1: the largest function of the largest
// project, if that has more than the taker's would have then; else the largest of the same project by the same rule.
func donor(taker holding, all []holding) int {
	projects := placesOf(all)
	best := -1
	for i, h := range all {
		if h.project == taker.project || h.workers == 0 || projects[h.project] <= projects[taker.project]+1 {
			continue
		}
		if best < 0 || projects[h.project] > projects[all[best].project] || h.project == all[best].project && h.workers > all[best].workers { //nolint:gosec // best is an index of all here
			best = i
		}
	}
	if best >= 0 {
		return best
	}
	for i, h := range all {
		if h.project == taker.project && h.function != taker.function && h.workers > taker.workers+1 && (best < 0 || h.workers > all[best].workers) {
			best = i
		}
	}
	return best
}

func placesOf(all []holding) map[flint.ProjectID]int {
	n := map[flint.ProjectID]int{}
	for _, h := range all {
		n[h.project] += h.workers
	}
	return n
}

// places is how many workers the node may have for calls of a depth: an eighth is for calls from functions only.
func (p *Pool) places(depth int) int {
	n := p.config.MaxWorkers
	if depth == 0 {
		n -= n / 8
	}
	return n
}

// reserve takes the right to have one more worker on this node for calls of a depth. When there is none, or others have
// been waiting for one, the group is noted as wanting it and gets it when its turn comes. The group's lock is held.
func (p *Pool) reserve(g *group, depth int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	_, known := p.wants[g]
	others := len(p.wants) > 0 && !(known && len(p.wants) == 1)
	if p.reserved < p.places(depth) && (!others || depth > 0) {
		p.reserved++
		p.satisfied(g)
		return true
	}
	if !known {
		if len(p.wants) == 0 {
			p.turnover = turnover{since: time.Now()}
		}
		p.wants[g] = time.Now()
		p.wanting.Store(int64(len(p.wants)))
	}
	p.arrangeLocked()
	return false
}

// reserveSpare takes a place that nobody wants, for a worker that nobody waits for.
func (p *Pool) reserveSpare() bool {
	if p.short.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.wants) > 0 || p.reserved >= p.places(0) {
		return false
	}
	p.reserved++
	return true
}

// satisfied notes that a group wants no place any more. The lock is held.
func (p *Pool) satisfied(g *group) {
	delete(p.wants, g)
	p.wanting.Store(int64(len(p.wants)))
}

// unreserve gives a place back.
func (p *Pool) unreserve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reserved--
	if len(p.wants) > 0 {
		p.arrangeLocked()
	}
}

// arrange has places given and taken, on another goroutine.
func (p *Pool) arrange() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrangeLocked()
}

func (p *Pool) arrangeLocked() {
	p.again = true
	if p.arranging || p.closed {
		return
	}
	p.arranging = true
	p.tasks.Go(func() {
		for {
			p.mu.Lock()
			if !p.again || p.closed {
				p.arranging = false
				p.mu.Unlock()
				return
			}
			p.again = false
			p.mu.Unlock()
			for p.givePlace() {
			}
			p.makeRoom()
		}
	})
}

// turnover is how fast places are given to those who want one, since somebody does.
type turnover struct {
	since time.Time
	given int
	rate  float64 // places a second in the time before since
}

// turnoverTime is how long places are counted before older ones are forgotten.
const turnoverTime = 2 * time.Second

// soon reports whether all of so many who want a place will have had one after a while.
func (t *turnover) soon(now time.Time, wants int, while time.Duration) bool {
	passed := now.Sub(t.since)
	rate := max(t.rate, float64(t.given)/max(passed, time.Millisecond).Seconds())
	if passed > turnoverTime {
		rate = float64(t.given) / passed.Seconds()
		t.since, t.given, t.rate = now, 0, rate
	}
	return rate > 0 && float64(wants)/rate <= while.Seconds()
}

// placeSoon reports whether those who want a place at this time will have one after a while.
func (p *Pool) placeSoon(now time.Time, while time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turnover.soon(now, len(p.wants), while)
}

// census is what the node's places are used for at a moment.
type census struct {
	groups []*group
	all    []holding // by group
	going  int       // workers that will give their places back without being asked
	wants  map[*group]time.Time
	depth  map[*group]int // of the deepest call that waits
	need   map[*group]bool
}

func (p *Pool) census() census {
	c := census{groups: p.snapshot(), wants: map[*group]time.Time{}, depth: map[*group]int{}, need: map[*group]bool{}}
	p.mu.Lock()
	maps.Copy(c.wants, p.wants)
	p.mu.Unlock()
	for g := range c.wants {
		if !slices.Contains(c.groups, g) {
			c.groups = append(c.groups, g)
		}
	}
	for _, g := range c.groups {
		g.mu.Lock()
		usable := g.usable()
		c.all = append(c.all, holding{g.target.Project, g.target.Function, usable + g.starting, c.wants[g]})
		c.going += len(g.workers) - usable
		for d := range g.waiting.lanes {
			if g.waiting.first(d) != nil {
				c.depth[g] = d
			}
		}
		c.need[g] = !g.retired && wantStarts(g.waiting.n, g.starting, len(g.workers), g.perWorker(), g.limit(c.depth[g])) > 0
		g.mu.Unlock()
	}
	return c
}

// givePlace gives a free place to the group whose turn it is, and reports whether there may be more to give.
func (p *Pool) givePlace() bool {
	c := p.census()
	var groups []*group
	var wanting []holding
	for i, g := range c.groups {
		if _, wants := c.wants[g]; !wants {
			continue
		}
		if !c.need[g] {
			p.mu.Lock()
			p.satisfied(g)
			p.mu.Unlock()
			continue
		}
		groups, wanting = append(groups, g), append(wanting, c.all[i])
	}
	if len(groups) == 0 {
		return false
	}
	g := groups[nextPlace(wanting, c.all)]
	p.mu.Lock()
	if p.closed || p.reserved >= p.places(c.depth[g]) {
		p.mu.Unlock()
		return false
	}
	p.reserved++
	p.turnover.given++
	p.satisfied(g) // should it need more it will say so
	p.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired || g.waiting.n == 0 {
		p.mu.Lock()
		p.reserved--
		p.mu.Unlock()
		return true
	}
	g.startReserved()
	g.scale()
	return true
}

// makeRoom sends workers away so that each group that wants a place gets one: first idle ones, those of replaced targets
// before others; then, if somebody has more than a fair share, a busy one of theirs, after the calls that it has.
func (p *Pool) makeRoom() {
	c := p.census()
	for i, g := range c.groups {
		if !c.need[g] || c.going > 0 && p.enough(c) {
			continue
		}
		if _, wants := c.wants[g]; !wants {
			continue
		}
		if p.evictIdle(c, g) {
			c.going++
			continue
		}
		if from := donor(c.all[i], c.all); from >= 0 && c.groups[from].dismiss() {
			c.all[from].workers--
			c.going++
		}
	}
}

// enough reports whether as many workers are going as there are groups that want a place.
func (p *Pool) enough(c census) bool {
	n := 0
	for g := range c.wants {
		if c.need[g] {
			n++
		}
	}
	return c.going >= n
}

// yieldMemory looks whether memory is short, and has an eighth of the idle workers go then, those that have been idle for longest.
// It is called once a second: until then the kernel has what they had, and programs that grow slowly are followed.
func (p *Pool) yieldMemory() {
	if p.config.Free == nil {
		return
	}
	free := p.config.Free()
	p.short.Store(free < p.config.Least)
	if free >= p.config.Least {
		return
	}
	c := p.census()
	idle := 0
	for _, g := range c.groups {
		idle += g.idleWorkers()
	}
	gone := 0
	for gone < (idle+7)/8 && p.evictIdle(c, nil) {
		gone++
	}
	if gone > 0 {
		p.config.Logger.Warn("memory is short: idle workers go", slog.Int("workers", gone), slog.Int64("free", free), slog.Int64("least", p.config.Least))
	}
}

// idleWorkers is how many workers have no calls and need not be kept.
func (g *group) idleWorkers() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, w := range g.workers {
		if w.inFlight == 0 && w.open() {
			n++
		}
	}
	if !g.replaced {
		n = min(n, g.usable()-g.scaling.MinWarm)
	}
	return max(0, n)
}

// evictIdle drains an idle worker of another group, if there is one that need not be kept.
func (p *Pool) evictIdle(c census, taker *group) bool {
	var victim *worker
	var owner *group
	var since time.Time
	for _, g := range c.groups {
		if g == taker {
			continue
		}
		if w, s := g.idleWorker(); w != nil && (victim == nil || s.Before(since)) {
			victim, owner, since = w, g, s
		}
	}
	if victim == nil {
		return false
	}
	owner.mu.Lock()
	defer owner.mu.Unlock()
	if victim.inFlight > 0 || !victim.open() {
		return false
	}
	owner.drain(victim)
	return true
}

// idleWorker returns when the longest idle worker became idle, if there is one that need not be kept: the zero time for
// one of a replaced target.
func (g *group) idleWorker() (*worker, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.replaced && g.usable() <= g.scaling.MinWarm {
		return nil, time.Time{}
	}
	var found *worker
	var since time.Time
	for _, w := range g.workers {
		if w.inFlight == 0 && w.open() && (found == nil || w.idleSince.Before(since)) {
			found, since = w, w.idleSince
		}
	}
	if g.replaced {
		since = time.Time{}
	}
	return found, since
}

// dismiss has the worker with the fewest calls go after them, and reports whether there was one.
func (g *group) dismiss() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	var least *worker
	for _, w := range g.workers {
		if w.open() && (least == nil || w.inFlight < least.inFlight) {
			least = w
		}
	}
	if least == nil {
		return false
	}
	least.leaving = true
	if least.inFlight == 0 {
		g.drain(least)
	}
	return true
}

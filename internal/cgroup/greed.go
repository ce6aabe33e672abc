package cgroup

import (
	"errors"
	"strconv"
	"time"
)

// What greed is: a group that has computed for most of some looks in a row. It weighs less than others until it has been calm
// for a while: what those need now and then comes first, and they need little, or they would be greedy too. Greedy groups
// share what is left as equals.
//
// Equal weights are not enough. A group whose threads come and go on several processors has its weight spread over these
// anew each time, which Linux (6.18) counts in its favour again and again: beside one that forks without end others that are
// ready to run have waited for most of a second.
const (
	greedyShare = 0.5  // of a processor, and more
	calmShare   = 0.25 // and less
	greedyLooks = 2    // in a row until it weighs less
	calmLooks   = 5    // in a row until it weighs as much as others again

	usualShares, lowShares = 1024, 64 // version 1
	usualWeight, lowWeight = 100, 6   // version 2
)

// greed is what a group was like when it was last looked at.
type greed struct {
	at    time.Time // zero: it was not looked at lately
	used  time.Duration
	looks int // in a row that speak for a change
	low   bool
}

// look takes a look and reports whether the group is to change from the one weight to the other.
func (g *greed) look(now time.Time, used time.Duration) (change bool) {
	passed, spent, first := now.Sub(g.at), used-g.used, g.at.IsZero()
	g.at, g.used = now, used
	if first || passed <= 0 {
		return false
	}
	share := spent.Seconds() / passed.Seconds()
	if g.low && share > calmShare || !g.low && share < greedyShare {
		g.looks = 0
		return false
	}
	g.looks++
	return g.low && g.looks >= calmLooks || !g.low && g.looks >= greedyLooks
}

// Weigh looks at how much the group computes and has it weigh less than others while it is greedy. To be called a few times a
// second, by one goroutine at a time. idle: all groups together are known to compute less than a greedy one does.
func (g *Group) Weigh(now time.Time, idle bool) error {
	if g.cpuIn == "" {
		return nil
	}
	if idle && !g.greed.low {
		g.greed = greed{}
		return nil
	}
	if !g.greed.look(now, g.CPUTime()) {
		return nil
	}
	g.greed.low, g.greed.looks = !g.greed.low, 0
	var errs []error
	for _, p := range g.parts {
		if p.has(CPU) {
			errs = append(errs, p.weigh(g.greed.low))
		}
	}
	return errors.Join(errs...)
}

func (p part) weigh(low bool) error {
	file, weight := "cpu.shares", usualShares
	switch {
	case p.version == 2 && low:
		file, weight = "cpu.weight", lowWeight
	case p.version == 2:
		file, weight = "cpu.weight", usualWeight
	case low:
		weight = lowShares
	}
	return write(p.dir, file, strconv.Itoa(weight))
}

// Idle reports whether all groups of the manager together have computed less since it was last asked than one that is greedy.
// Where nobody counts they have. To be called by one goroutine at a time.
func (m *Manager) Idle(now time.Time) bool {
	if m.allIn == "" {
		return true
	}
	used := m.all.duration(m.allIn)
	passed, spent := now.Sub(m.asked), used-m.used
	m.asked, m.used = now, used
	return spent.Seconds() < greedyShare*passed.Seconds()
}

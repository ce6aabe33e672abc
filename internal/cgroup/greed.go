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
	greedyShare = 0.5  // of a processor, and more; of an equal share where all groups that compute get less
	calmPart    = 0.5  // of that, and less
	activeShare = 0.05 // of a processor: less is no computing
	greedyLooks = 2    // in a row until it weighs less
	calmLooks   = 5    // in a row until it weighs as much as others again

	usualShares, lowShares = 1024, 64 // version 1
	usualWeight, lowWeight = 100, 6   // version 2
)

// greed is what a group was like when it was last looked at.
type greed struct {
	at    time.Time // zero: it was not looked at lately
	used  time.Duration
	share float64 // of a processor, since the look before; negative: there was none
	looks int     // in a row that speak for a change
	low   bool
}

// look takes a reading.
func (g *greed) look(now time.Time, used time.Duration) {
	passed, spent := now.Sub(g.at), used-g.used
	if g.share = -1; !g.at.IsZero() && passed > 0 {
		g.share = spent.Seconds() / passed.Seconds()
	}
	g.at, g.used = now, used
}

// judge reports whether the group is to change from the one weight to the other. least is the share from which on it is greedy.
func (g *greed) judge(least float64) (change bool) {
	if g.share < 0 || g.low && g.share > calmPart*least || !g.low && g.share < least {
		g.looks = 0
		return false
	}
	g.looks++
	return g.low && g.looks >= calmLooks || !g.low && g.looks >= greedyLooks
}

// Weigh looks at how much groups of the manager compute and has those weigh less than others that are greedy, on a machine
// with so many processors. To be called a few times a second, by one goroutine at a time, with all groups; those that have been
// removed meanwhile do no harm.
func (m *Manager) Weigh(now time.Time, processors int, groups []*Group) error {
	idle, active := m.idle(now), 0
	for _, g := range groups {
		if g.cpuIn == "" || idle && !g.greed.low {
			g.greed = greed{share: -1}
			continue
		}
		if g.greed.look(now, g.CPUTime()); g.greed.share >= activeShare {
			active++
		}
	}
	least := greedyShare * min(1, float64(processors)/float64(max(1, active)))
	var errs []error
	for _, g := range groups {
		if g.greed.judge(least) {
			errs = append(errs, g.weigh(!g.greed.low))
		}
	}
	return errors.Join(errs...)
}

// weigh changes the weight.
func (g *Group) weigh(low bool) error {
	g.greed.low, g.greed.looks = low, 0
	var errs []error
	for _, p := range g.parts {
		if !p.has(CPU) {
			continue
		}
		file, weight := "cpu.shares", usualShares
		switch {
		case p.version == 2 && low:
			file, weight = "cpu.weight", lowWeight
		case p.version == 2:
			file, weight = "cpu.weight", usualWeight
		case low:
			weight = lowShares
		}
		errs = append(errs, ifThere(write(p.dir, file, strconv.Itoa(weight))))
	}
	return errors.Join(errs...)
}

// idle reports whether all groups of the manager together have computed less since it was last asked than would be worth a look.
// Where nobody counts they have.
func (m *Manager) idle(now time.Time) bool {
	if m.allIn == "" {
		return true
	}
	used := m.all.duration(m.allIn)
	passed, spent := now.Sub(m.asked), used-m.used
	m.asked, m.used = now, used
	return spent.Seconds() < greedyShare*calmPart*passed.Seconds()
}

package worker

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint/internal/proc"
	"flint/sandbox"
)

// account says what calls cost: how much processor time their worker used while they ran, and how much memory it held.
// The host is asked, never the worker. That costs some microseconds, too much to do it twice for each of thousands of
// calls a second. So readings are rationed: as long as there is room for it each call has one at its begin and one
// at its end; beyond that the newest reading is carried on by the time that the worker has been busy since, at the rate at
// which it used processors before.
//
// Processor time is that of the worker's process by its own clock, and on top of it what the control group has counted
// beyond that: the worker's other processes. The kernel adds the time of a thread that runs when it stops running, or at the
// next tick. A worker may still be running when its answer is here, so that a reading then can miss all of a short call.
// Therefore a short call that the worker had alone is looked at once more when its caller has the answer, and when that
// shows much less than the worker has used before, it gets what the worker uses in such a time.
type account struct {
	box sandbox.Sandbox
	pid int // of the process that speaks with us; 0: not known

	mu      sync.Mutex
	spent   prometheus.Counter // nil until the worker has a target
	over    bool               // the worker has ended: its numbers are final
	calls   int                // that it has now
	begun   uint64             // calls that it ever had
	at      time.Time          // when calls changed
	busy    time.Duration      // until then: how long there were calls
	ration  time.Time          // grows with each reading; must not lie in the future
	process time.Duration      // by its own clock
	beside  time.Duration      // the most that the control group was ever ahead of it
	cpu     time.Duration      // both together
	looked  time.Duration      // how long the worker had been busy then
	unseen  time.Duration      // of that since the reading before, what it did not show as used
	peak    int64
	partial bool // the peak is that of a part of the worker's life
	slow    bool // readings are expensive here

	// Processor time for busy time, older readings counting less.
	used, during float64
	before       float64 // the one divided by the other before the newest reading that a call needed
}

const (
	readingEvery     = 2 * time.Millisecond  // on average, when there are many calls
	slowReadingEvery = 50 * time.Millisecond // without control groups: memory is in a file that is long
	readingBurst     = 50                    // readings that may come at once after a while without
	shortCall        = 10 * time.Millisecond // no longer than a few ticks
	fading           = 0.875                 // what remains of the weight of older readings
)

// mark is where an account stood when a call began.
type mark struct {
	at     time.Time
	cpu    time.Duration
	begun  uint64
	exact  bool
	shared bool
}

// usage is what a call has cost. Negative: not known.
type usage struct {
	cpu                        time.Duration
	peak                       int64
	shared, estimated, partial bool
	run                        time.Duration
	unsure                     bool // it was short, and may not have been added up when it was looked at
}

// begin opens the account of a call.
func (a *account) begin(now time.Time) mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pass(now)
	exact := a.afford(now)
	if exact {
		if a.calls == 0 {
			a.partial = a.forgetPeak()
		}
		a.look()
	}
	a.begun++
	a.calls++
	return mark{at: now, cpu: a.estimate(), begun: a.begun, exact: exact, shared: a.calls > 1}
}

// end says what a call has cost until now. gone: the worker is done with it.
func (a *account) end(m mark, now time.Time, gone bool) usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pass(now)
	exact := a.over || a.afford(now)
	if exact {
		a.look()
	}
	u := usage{
		cpu: max(0, a.estimate()-m.cpu), peak: a.peak,
		shared: m.shared || a.begun != m.begun, estimated: !m.exact || !exact, partial: a.partial, run: now.Sub(m.at),
	}
	if u.estimated {
		u.cpu = u.bound(u.cpu)
	}
	if a.cpu == 0 {
		u.cpu = -1
	}
	u.unsure = u.run < shortCall && u.cpu >= 0 && !u.shared && !u.estimated && gone && !a.over
	if u.peak == 0 {
		u.peak, u.partial = -1, true
	}
	if gone {
		a.calls--
	}
	return u
}

// bound is what a call can have used at most.
func (u usage) bound(cpu time.Duration) time.Duration {
	return min(cpu, u.run*time.Duration(runtime.NumCPU()))
}

// again looks once more at a call that was short.
func (a *account) again(m mark, u usage, now time.Time) usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	rate := a.before
	if a.calls == 0 && a.begun == m.begun && !a.over && a.afford(now) {
		a.pass(now)
		a.look()
		u.cpu = max(u.cpu, u.bound(a.cpu-m.cpu))
	}
	if usual := time.Duration(float64(u.run) * rate); u.cpu < usual/2 {
		u.cpu, u.estimated = u.bound(usual), true
	}
	u.unsure = false
	return u
}

// leave notes that the worker is done with a call whose account is settled.
func (a *account) leave(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pass(now)
	a.calls--
}

// finish takes the last reading of a worker that has ended.
func (a *account) finish(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box == nil { // it never connected
		return
	}
	a.pass(now)
	a.look()
	a.over = true
}

// countInto adds the processor time of the worker's whole life to a counter.
func (a *account) countInto(c prometheus.Counter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = c
	c.Add(a.cpu.Seconds())
}

// pass lets time pass. The lock is held.
func (a *account) pass(now time.Time) {
	if a.calls > 0 {
		a.busy += now.Sub(a.at)
	}
	a.at = now
}

// afford takes one from the ration of readings, if there is one. The lock is held.
func (a *account) afford(now time.Time) bool {
	every := readingEvery
	if a.slow {
		every = slowReadingEvery
	}
	if full := now.Add(-readingBurst * every); a.ration.Before(full) {
		a.ration = full
	}
	if a.ration.After(now) {
		return false
	}
	a.ration = a.ration.Add(every)
	return true
}

// look takes a reading. The lock is held.
func (a *account) look() {
	if a.over {
		return
	}
	group := a.box.Usage()
	if process, ok := proc.CPUTime(a.pid); ok {
		a.process = max(a.process, process)
	}
	a.beside = max(a.beside, group.CPU-a.process)
	grown := max(0, a.process+a.beside-a.cpu)
	a.cpu += grown
	if a.spent != nil {
		a.spent.Add(grown.Seconds())
	}
	a.slow = group.PeakMemory == 0
	if !a.slow {
		a.peak = group.PeakMemory
	} else if peak, ok := proc.PeakMemory(a.pid); ok {
		a.peak = peak
	}
	if busy := a.busy - a.looked; busy > 0 {
		if a.during > 0 {
			a.before = a.used / a.during
		}
		a.used = a.used*fading + grown.Seconds()
		a.during = a.during*fading + busy.Seconds()
		a.unseen = max(0, busy-grown)
	} else { // nobody called meanwhile: what was used before is added up
		late := min(grown, a.unseen)
		a.used += late.Seconds()
		a.unseen -= late
	}
	a.looked = a.busy
}

// estimate is the processor time until now, carried on from the newest reading. The lock is held.
func (a *account) estimate() time.Duration {
	if a.during <= 0 || a.busy == a.looked || a.over {
		return a.cpu
	}
	return a.cpu + time.Duration(math.Round(float64(a.busy-a.looked)*a.used/a.during))
}

// forgetPeak lets the peak of memory begin anew, and reports whether it does. The lock is held.
func (a *account) forgetPeak() bool {
	if a.slow {
		return proc.ResetPeak(a.pid)
	}
	box, ok := a.box.(sandbox.PeakResetter)
	return ok && box.ResetPeak()
}

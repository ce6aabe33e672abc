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
// Processor time is the worker's process by its own clock, which is exact, and on top of it what the control group has
// counted beyond that: other processes of the worker, to a tick of the kernel.
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
	peak    int64
	partial bool // the peak is that of a part of the worker's life
	slow    bool // readings are expensive here

	// Processor time for busy time, older readings counting less.
	used, during float64
}

const (
	readingEvery     = 2 * time.Millisecond  // on average, when there are many calls
	slowReadingEvery = 50 * time.Millisecond // without control groups: memory is in a file that is long
	readingBurst     = 50                    // readings that may come at once after a while without
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
		shared: m.shared || a.begun != m.begun, estimated: !m.exact || !exact, partial: a.partial,
	}
	if u.estimated {
		u.cpu = min(u.cpu, now.Sub(m.at)*time.Duration(runtime.NumCPU()))
	}
	if a.cpu == 0 {
		u.cpu = -1
	}
	if u.peak == 0 {
		u.peak, u.partial = -1, true
	}
	if gone {
		a.calls--
	}
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
		a.used = a.used/2 + grown.Seconds()
		a.during = a.during/2 + busy.Seconds()
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

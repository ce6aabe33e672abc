package worker

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint/sandbox"
)

// metered is a sandbox whose usage the test sets.
type metered struct {
	sandbox.Sandbox
	used     sandbox.Usage
	readings int
	deaf     bool // cannot reset
}

func (m *metered) Usage() sandbox.Usage {
	m.readings++
	return m.used
}

func (m *metered) ResetPeak() bool {
	if !m.deaf {
		m.used.PeakMemory = 1
	}
	return !m.deaf
}

func same(t *testing.T, what string, got, want usage) {
	t.Helper()
	got.run, got.unsure = 0, false
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(usage{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAccountOfACallAlone(t *testing.T) {
	t.Parallel()
	box := &metered{used: sandbox.Usage{CPU: time.Second, PeakMemory: 500}}
	a := &account{box: box}
	now := time.Unix(1000, 0)
	m := a.begin(now)
	box.used = sandbox.Usage{CPU: 1200 * time.Millisecond, PeakMemory: 64}
	same(t, "the first", a.end(m, now.Add(300*time.Millisecond), true), usage{cpu: 200 * time.Millisecond, peak: 64, partial: true})

	box.used.CPU += time.Second // while nobody called
	box.deaf = true
	m = a.begin(now.Add(time.Minute))
	box.used.CPU += time.Millisecond
	same(t, "one that the host cannot measure the memory of", a.end(m, now.Add(2*time.Minute), true), usage{cpu: time.Millisecond, peak: 64})

	m = a.begin(now.Add(time.Hour))
	box.used = sandbox.Usage{CPU: 10 * time.Second, PeakMemory: 70}
	a.finish(now.Add(2 * time.Hour))
	box.used = sandbox.Usage{} // nothing is there any more
	same(t, "one whose worker ended", a.end(m, now.Add(2*time.Hour), true), usage{cpu: 10*time.Second - 2201*time.Millisecond, peak: 70})
}

func TestAccountOfCallsTogether(t *testing.T) {
	t.Parallel()
	box := &metered{used: sandbox.Usage{CPU: time.Second, PeakMemory: 500}}
	a := &account{box: box}
	now := time.Unix(1000, 0)
	one := a.begin(now)
	box.used.CPU += 10 * time.Millisecond
	two := a.begin(now.Add(time.Second))
	box.used = sandbox.Usage{CPU: box.used.CPU + 20*time.Millisecond, PeakMemory: 80}
	same(t, "the first", a.end(one, now.Add(2*time.Second), true), usage{cpu: 30 * time.Millisecond, peak: 80, shared: true, partial: true})
	box.used.CPU += 40 * time.Millisecond
	same(t, "the second", a.end(two, now.Add(3*time.Second), true), usage{cpu: 60 * time.Millisecond, peak: 80, shared: true, partial: true})
	three := a.begin(now.Add(4 * time.Second))
	same(t, "one after them", a.end(three, now.Add(5*time.Second), true), usage{peak: 1, partial: true})
}

// TestAccountIsRationed makes many short calls: few have readings of their own, and those of the others are carried on.
func TestAccountIsRationed(t *testing.T) {
	t.Parallel()
	const calls, long, cost = 10_000, 100 * time.Microsecond, 50 * time.Microsecond
	box := &metered{used: sandbox.Usage{CPU: time.Second, PeakMemory: 500}}
	a := &account{box: box}
	now := time.Unix(1000, 0)
	var sum time.Duration
	estimated := 0
	for range calls {
		m := a.begin(now)
		now = now.Add(long)
		box.used.CPU += cost
		u := a.end(m, now, true)
		if u.shared || u.peak < 0 {
			t.Fatalf("a call alone: %+v", u)
		}
		if u.estimated {
			estimated++
		}
		sum += u.cpu
	}
	if most := int(calls*long/readingEvery) + readingBurst + 1; box.readings > most {
		t.Errorf("%d readings, want at most %d", box.readings, most)
	}
	if estimated < calls*9/10 {
		t.Errorf("%d of %d calls are estimated", estimated, calls)
	}
	if sum < calls*cost*99/100 || sum > calls*cost*101/100 {
		t.Errorf("the calls have used %v together, want %v", sum, calls*cost)
	}
}

// TestAccountOfShortCalls has the kernel add up what calls used after their end.
func TestAccountOfShortCalls(t *testing.T) {
	t.Parallel()
	const calls, long, cost = 40, time.Millisecond, 600 * time.Microsecond
	box := &metered{used: sandbox.Usage{CPU: time.Second, PeakMemory: 500}}
	now := time.Unix(1000, 0)
	a := &account{box: box}
	for i := range calls {
		now = now.Add(time.Second)
		m := a.begin(now)
		u := a.end(m, now.Add(long), true)
		if i%2 == 0 { // before the caller looks
			box.used.CPU += cost
		}
		u = a.again(m, u, now.Add(2*long))
		if i%2 != 0 {
			box.used.CPU += cost
		}
		if i%2 == 0 && (u.cpu != cost || u.estimated) {
			t.Errorf("call %d: %+v, want %v", i, u, cost)
		}
		if i%2 != 0 && (u.cpu < cost*8/10 || u.cpu > cost*12/10 || !u.estimated) {
			t.Errorf("call %d: %+v, want about %v", i, u, cost)
		}
	}
	box.used.CPU += time.Hour // by nobody's call
	m := a.begin(now.Add(time.Minute))
	box.used.CPU += cost
	u := a.end(m, now.Add(time.Minute+long), true)
	if u = a.again(m, u, now.Add(time.Minute+long)); u.cpu != cost {
		t.Errorf("after a time without calls: %+v", u)
	}
}

func TestAccountOfWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	a := &account{box: &metered{deaf: true}}
	now := time.Unix(1000, 0)
	same(t, "a call", a.end(a.begin(now), now.Add(time.Second), true), usage{cpu: -1, peak: -1, partial: true})
}

func TestToll(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		begin time.Time
		start span
		cold  bool
		queue time.Duration // at least
	}{
		"no start":                {ago(time.Second), span{}, false, time.Second},
		"long before":             {ago(time.Second), span{ago(time.Hour), ago(time.Minute)}, false, time.Second},
		"all of it":               {ago(time.Second), span{ago(time.Minute), now}, true, 0},
		"the end of it":           {ago(time.Minute), span{ago(time.Second), now}, true, 59 * time.Second},
		"a start that is not yet": {ago(time.Minute), span{ago(time.Second), now.Add(time.Hour)}, true, 59 * time.Second},
	} {
		if got := since(c.begin, c.start); got.start > 0 != c.cold || got.queue < c.queue || got.queue > c.queue+30*time.Second {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// BenchmarkAccount is what a call pays for its account: with readings of its own, and when there are too many calls for
// that. The control group is left out.
func BenchmarkAccount(b *testing.B) {
	pid := os.Getpid()
	b.Run("read", func(b *testing.B) {
		a, now := &account{box: &metered{used: sandbox.Usage{PeakMemory: 1}}, pid: pid}, time.Now()
		for b.Loop() {
			now = now.Add(time.Second)
			a.end(a.begin(now), now, true)
		}
	})
	b.Run("rationed", func(b *testing.B) {
		a, now := &account{box: &metered{used: sandbox.Usage{PeakMemory: 1}}, pid: pid}, time.Now()
		for b.Loop() {
			now = now.Add(50 * time.Microsecond)
			a.end(a.begin(now), now, true)
		}
	})
}

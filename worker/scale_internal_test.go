package worker

import (
	"math/rand/v2"
	"testing"
	"time"

	"flint"
)

func TestWantStarts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ waiting, starting, live, concurrency, limit, want int }{
		{0, 0, 0, 1, 4, 0},
		{1, 0, 0, 100, 4, 1},
		{3, 0, 0, 1, 4, 3},
		{9, 0, 1, 1, 4, 3},
		{9, 2, 1, 1, 4, 1},
		{100, 1, 0, 100, 4, 0},
		{101, 1, 0, 100, 4, 1},
		{9, 0, 5, 1, 4, 0},
	} {
		if got := wantStarts(tt.waiting, tt.starting, tt.live, tt.concurrency, tt.limit); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestPressure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p     pressure
		most  int
		want  bool
		retry time.Duration
	}{
		"nobody waits":                       {pressure{workers: 4}, 10, true, 0},
		"a burst, and nothing known of it":   {pressure{waiting: 9, workers: 4}, 10, true, 0},
		"the queue is full":                  {pressure{waiting: 10, workers: 4}, 10, false, time.Second},
		"a burst that can be served soon":    {pressure{waiting: 40, rate: 10, workers: 4}, 1000, true, 0},
		"one that cannot":                    {pressure{waiting: 60, rate: 10, workers: 4}, 1000, false, 7 * time.Second},
		"a standing queue is kept short":     {pressure{waiting: 20, rate: 20, workers: 4, standing: 2 * time.Second}, 1000, false, 2 * time.Second},
		"but not empty":                      {pressure{waiting: 19, rate: 20, workers: 4, standing: 2 * time.Second}, 1000, true, 0},
		"a few calls may always":             {pressure{waiting: 15, rate: 0.1, workers: 4, standing: time.Minute}, 1000, true, 0},
		"and one call per worker":            {pressure{waiting: 39, rate: 0.1, workers: 40, standing: time.Minute}, 1000, true, 0},
		"nobody is told to wait for minutes": {pressure{waiting: 900, rate: 0.1, workers: 4, standing: time.Minute}, 1000, false, 30 * time.Second},
		"a queue that does not move":         {pressure{waiting: 60, workers: 4, standing: time.Minute}, 1000, false, time.Second},
		"workers that never come":            {pressure{waiting: 60, rate: 10, workers: 4, standing: time.Minute, starting: true}, 1000, false, 7 * time.Second},
		"those beyond the limit end first":   {pressure{waiting: 16, excess: 5, rate: 20, workers: 4, standing: 2 * time.Second}, 1000, false, 2 * time.Second},
		"more workers are on their way":      {pressure{waiting: 40, rate: 10, workers: 4, standing: 2 * time.Second, starting: true}, 1000, true, 0},
	} {
		got, retry := tt.p.admits(tt.most)
		if got != tt.want || !got && retry != tt.retry {
			t.Errorf("%s: %v, %s; want %v, %s", name, got, retry, tt.want, tt.retry)
		}
	}
}

func TestWhoGoesOnWaiting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p     pressure
		ahead int
		want  bool
	}{
		"who is next":                 {pressure{rate: 0.1, workers: 4}, 3, true},
		"who is served in time":       {pressure{rate: 10, workers: 4}, 68, true},
		"who is not":                  {pressure{rate: 10, workers: 4}, 70, false},
		"who would be but for others": {pressure{rate: 10, excess: 10, workers: 4}, 68, false},
		"of a queue that stands":      {pressure{workers: 4}, 4, false},
	} {
		if got, retry := tt.p.hopeful(tt.ahead, time.Second); got != tt.want || !got && retry < time.Second {
			t.Errorf("%s: %t, try again after %s", name, got, retry)
		}
	}
}

func TestTheRateOfAQueue(t *testing.T) {
	t.Parallel()
	var q queue
	now := time.Now()
	for range 30 {
		q.push(&waiter{granted: make(chan grant, 1)}, now)
	}
	q.measure(now.Add(100 * time.Millisecond))
	if q.rate != 0 {
		t.Errorf("a rate of %v after too short a time", q.rate)
	}
	for range 10 {
		q.shift(0)
	}
	if q.measure(now.Add(500 * time.Millisecond)); q.rate != 20 {
		t.Errorf("a rate of %v, want 20 a second", q.rate)
	}
	if q.grow(2, now.Add(500*time.Millisecond)); q.rate != 40 {
		t.Errorf("a rate of %v with two workers instead of one, want twice as much", q.rate)
	}
	q.rate = 20
	q.ended = 20 // those in workers end although nobody is let in
	if q.measure(now.Add(time.Second)); q.rate != 30 {
		t.Errorf("a rate of %v, want what is between 20 and 40 a second", q.rate)
	}
	for range 20 {
		q.shift(0)
	}
	q.push(&waiter{granted: make(chan grant, 1)}, now.Add(time.Minute))
	if q.rate != 0 {
		t.Errorf("a rate of %v from long ago", q.rate)
	}
}

func TestDeeperCallsGoFirst(t *testing.T) {
	t.Parallel()
	var q queue
	outer, inner, last := &waiter{granted: make(chan grant, 1)}, &waiter{depth: 2, granted: make(chan grant, 1)}, &waiter{granted: make(chan grant, 1)}
	q.push(outer, time.Now())
	q.push(inner, time.Now())
	q.push(last, time.Now())
	if q.ahead(outer) != 0 || q.ahead(last) != 1 || q.ahead(inner) != 0 {
		t.Errorf("%d, %d and %d are ahead", q.ahead(outer), q.ahead(last), q.ahead(inner))
	}
	if !q.remove(last) {
		t.Error("the last one is not there")
	}
	if q.first(2) != inner || q.first(0) != outer || q.last() != outer || q.n != 2 {
		t.Errorf("queue %+v", q)
	}
	if !q.remove(inner) || q.remove(inner) || q.n != 1 {
		t.Errorf("after the inner one left: %+v", q)
	}
}

func TestCPU(t *testing.T) {
	t.Parallel()
	large := flint.Specification{CPUs: 8}
	for used, want := range map[float64]bool{0: false, 0.5: false, 0.9: true, 1.05: true, 1.9: false} {
		if got := isHot(used, large); got != want {
			t.Errorf("a worker that uses %v processors is hot: %v", used, got)
		}
	}
	for _, tt := range []struct {
		used, delayed float64
		want          bool
	}{{0.4, 0.6, true}, {0.9, 0, true}, {0.1, 0.1, false}, {2, 0.1, false}, {1.9, 2, true}} {
		if got := isStarved(tt.used, tt.delayed, large); got != tt.want {
			t.Errorf("a worker that uses %v processors and waits for %v is short of them: %v", tt.used, tt.delayed, got)
		}
	}
	if !isHot(0.49, flint.Specification{CPUs: 0.5}) {
		t.Error("a worker at its limit is not hot")
	}
	for _, tt := range []struct {
		l    load
		want bool
	}{
		{load{workers: 1, hot: 1, inFlight: 5, limit: 4, cpus: 2}, true},
		{load{workers: 1, hot: 1, inFlight: 1, limit: 4, cpus: 2}, false}, // one call uses one thread
		{load{workers: 1, hot: 1, inFlight: 5, limit: 1, cpus: 2}, false},
		{load{workers: 2, hot: 2, inFlight: 50, limit: 4, cpus: 2}, false}, // there are no more processors
		{load{workers: 2, hot: 1, inFlight: 50, limit: 4, cpus: 8}, false},
		{load{workers: 1, hot: 1, inFlight: 50, starting: 1, limit: 4, cpus: 8}, false},
		{load{limit: 4, cpus: 8}, false},
	} {
		if got := tt.l.wantForCPU(); got != tt.want {
			t.Errorf("%+v: %v", tt.l, got)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	now := time.Now()
	all := []holding{{"p", "a", 5, now}, {"p", "b", 1, now}, {"q", "c", 2, now}, {"r", "d", 0, now}}
	if i := nextPlace(all, all); i != 3 {
		t.Errorf("the next place goes to %v", all[i])
	}
	early := holding{"s", "e", 0, now.Add(-time.Second)}
	if i := nextPlace([]holding{all[3], early}, append(all, early)); i != 1 {
		t.Error("of equals the one that has waited longer is next")
	}
	for _, tt := range []struct {
		name  string
		taker holding
		want  int
	}{
		{"the largest of another project", all[3], 0},
		{"one that would have as much as the other then does not take", holding{"q", "x", 4, now}, 0},
		{"the largest of the same project", holding{"p", "x", 0, now}, 0},
	} {
		if got := donor(tt.taker, all); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := donor(holding{"q", "c", 2, now}, []holding{{"p", "a", 3, now}, {"q", "c", 2, now}}); got != -1 {
		t.Errorf("shares that are as even as can be: %d gives", got)
	}
	if got := donor(holding{"p", "c", 2, now}, []holding{{"p", "a", 3, now}, {"p", "c", 2, now}}); got != -1 {
		t.Errorf("within a project: %d gives", got)
	}
}

// TestPlacesBecomeEven gives and takes places until nobody can complain.
func TestPlacesBecomeEven(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all []holding
		total := 0
		for f := range 2 + random.IntN(6) {
			n := random.IntN(20)
			total += n
			all = append(all, holding{project: flint.ProjectID(rune('p' + f%3)), function: flint.FunctionID(rune('a' + f)), workers: n})
		}
		for round := 0; ; round++ {
			moved := false
			for i := range all { // all want more and more
				if from := donor(all[i], all); from >= 0 {
					all[from].workers--
					all[nextPlace(all, all)].workers++
					moved = true
				}
			}
			if !moved {
				break
			}
			if round > 100*total {
				t.Fatalf("it does not end: %+v", all)
			}
		}
		least, most := total, 0
		for _, n := range placesOf(all) {
			least, most = min(least, n), max(most, n)
		}
		if most > least+1 {
			t.Errorf("projects have between %d and %d places: %+v", least, most, all)
		}
	}
}

func TestWantStems(t *testing.T) {
	t.Parallel()
	var d demand
	now := time.Now()
	if n := wantStems(d.now(now), 0); n != 1 {
		t.Errorf("%d stems for a runtime that is new, want 1", n)
	}
	for range 4 {
		d.add(now)
	}
	if n := wantStems(d.now(now), 0); n != 4 {
		t.Errorf("%d stems after a burst of 4, want 4", n)
	}
	if n := wantStems(d.now(now.Add(stemMemory)), stemMemory); n != 2 {
		t.Errorf("%d stems a while later, want 2", n)
	}
	if n := wantStems(d.now(now.Add(time.Minute)), time.Minute); n != 1 {
		t.Errorf("%d stems a minute later, want 1", n)
	}
	if n := wantStems(d.now(now.Add(time.Hour)), time.Hour); n != 0 {
		t.Errorf("%d stems of a runtime that is not used, want 0", n)
	}
	for range 1000 {
		d.add(now)
	}
	if n := wantStems(d.now(now), 0); n != maxStems {
		t.Errorf("%d stems, want no more than %d", n, maxStems)
	}
}

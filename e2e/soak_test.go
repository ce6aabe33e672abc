package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flint/e2e/node"
)

const (
	soakShort    = 10 * time.Second // the load, where FLINT_TEST_SOAK says nothing else
	soakMeasure  = 3 * time.Second  // how long it is found out what the node can do
	soakCallers  = 32               // that find it out
	soakFlight   = 256              // calls at once; what would be more is left out and counted
	soakPatience = 90 * time.Second // until the node is at rest
	soakBetween  = 2 * time.Second  // two counts that agree are so far apart
	soakSeed     = 9
)

// TestSoak has a node do everything that nodes do, at half of what it can, and counts before and after what it might have
// left behind. FLINT_TEST_SOAK says for how long: `make soak` takes half an hour.
func TestSoak(t *testing.T) {
	length := soakShort
	if v := os.Getenv("FLINT_TEST_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatalf("FLINT_TEST_SOAK: %v", err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	temp, races, socket := filepath.Join(dir, "temp"), filepath.Join(dir, "race"), filepath.Join(dir, "inside")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	n := node.Start(t, node.Options{
		Program: program, Environ: []string{insideVariable + "=" + socket, "TMPDIR=" + temp, "GORACE=log_path=" + races},
		Args: []string{"--keep-alive=2s", "--rate-limits=false", "--execution-limit=2000"},
	})
	t.Cleanup(func() { raced(t, races) }) // after the node has stopped
	s := newSoaked(t, n)
	look := &surveyor{node: n, inside: newInside(socket), temp: temp}
	l := &soakLoad{duties: s.duties(), done: make([]atomic.Int64, len(s.duties()))}

	rate := l.measure(t, soakMeasure) / 2
	l.run(t, max(soakMeasure, length/10), rate) // what is made once is made now
	before := look.rest(t, nil)
	stacks, err := look.inside.lines(t.Context(), "/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	l.run(t, length, rate)
	t.Logf("%s at %.0f calls a second; %d were refused, %d left out\n%s", time.Since(begun).Round(time.Second), rate, s.refused.Load(), l.late.Load(), l)
	after := look.rest(t, before)
	t.Logf("left behind:\n%s", after.table(before))
	if err := after.grown(before); err != nil {
		t.Errorf("there is more than before:\n%v", err)
		now, err := look.inside.lines(t.Context(), "/goroutine?debug=1")
		t.Logf("goroutines before:\n%s\n\nand after (%v):\n%s", strings.Join(stacks, "\n"), err, strings.Join(now, "\n"))
	}
	if keep := os.Getenv("FLINT_TEST_SOAK_HEAP"); keep != "" {
		heap, err := look.inside.lines(t.Context(), "/heap?debug=1&gc=1")
		if err := errors.Join(err, os.WriteFile(keep, []byte(strings.Join(heap, "\n")), 0o600)); err != nil {
			t.Error(err)
		}
	}
}

// raced fails the test with what the race detector has written.
func raced(t *testing.T, prefix string) {
	t.Helper()
	files, _ := filepath.Glob(prefix + ".*")
	for _, file := range files {
		b, err := os.ReadFile(file)
		t.Errorf("the race detector of the node: %v\n%s", err, b)
	}
}

// rest waits until the node is at rest and counts. Without counts from before that is when two counts agree, but for what
// is never quite the same; with them, when there is no more of anything than before. What is not so in the end, is counted.
func (s *surveyor) rest(t *testing.T, before census) census {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soakPatience)
	defer cancel()
	var last census
	tick := time.NewTicker(soakBetween)
	defer tick.Stop()
	for {
		c, err := s.count(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case before != nil && c.grown(before) == nil:
			return c
		case before == nil && last != nil && c["workers"] == 0 && c["waiting calls"] == 0 && c.grown(last) == nil && last.grown(c) == nil && s.stems(t) == soakLanguages:
			return c
		}
		last = c
		select {
		case <-tick.C:
		case <-ctx.Done():
			if before == nil {
				t.Fatalf("the node does not come to rest:\n%s", c.table(last))
			}
			return c
		}
	}
}

// soakLanguages is how many kinds of stems there are: one of each stays.
const soakLanguages = 2

func (s *surveyor) stems(t *testing.T) int {
	t.Helper()
	v, err := s.node.Metric(t.Context(), "flint_stems")
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

// soakLoad does duties.
type soakLoad struct {
	duties []duty
	done   []atomic.Int64
	late   atomic.Int64
}

func (l *soakLoad) String() string {
	var b strings.Builder
	for i, d := range l.duties {
		fmt.Fprintf(&b, "%8d %s\n", l.done[i].Load(), d.name)
	}
	return b.String()
}

// draw returns a call, each as often as its weight says.
func (l *soakLoad) draw(r *rand.Rand) int {
	total := 0
	for _, d := range l.duties {
		total += d.weight
	}
	at := r.IntN(total)
	for i, d := range l.duties {
		if at -= d.weight; at < 0 {
			return i
		}
	}
	return 0
}

// errSoaked ends what is under way when one duty has failed.
var errSoaked = errors.New("a duty has failed")

// perform does a duty once. When it fails, all ends.
func (l *soakLoad) perform(ctx context.Context, t *testing.T, i int, fail context.CancelCauseFunc) {
	t.Helper()
	if err := l.duties[i].do(ctx); err != nil {
		if ctx.Err() == nil {
			t.Errorf("%s: %v", l.duties[i].name, err)
			fail(errSoaked)
		}
		return
	}
	l.done[i].Add(1)
}

// measure returns how many calls in a second the node can do: callers make one after the other.
func (l *soakLoad) measure(t *testing.T, d time.Duration) float64 {
	t.Helper()
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	var callers sync.WaitGroup
	var made atomic.Int64
	begun := time.Now()
	for c := range soakCallers {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(soakSeed, uint64(c)))
			for time.Since(begun) < d && ctx.Err() == nil {
				l.perform(ctx, t, l.draw(r), fail)
				made.Add(1)
			}
		})
	}
	callers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return float64(made.Load()) / time.Since(begun).Seconds()
}

// run makes calls at a rate and does everything else beside, for a while, and waits for the end of all.
func (l *soakLoad) run(t *testing.T, length time.Duration, rate float64) {
	t.Helper()
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	over, stop := context.WithTimeout(ctx, length)
	defer stop()
	var all sync.WaitGroup
	for i, d := range l.duties {
		if d.weight > 0 {
			continue
		}
		all.Go(func() {
			for over.Err() == nil {
				l.perform(ctx, t, i, fail)
				timer := time.NewTimer(d.every)
				select {
				case <-timer.C:
				case <-over.Done():
					timer.Stop()
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(soakSeed, soakSeed))
	flight := make(chan struct{}, soakFlight)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for over.Err() == nil {
		select {
		case <-tick.C:
		case <-over.Done():
			continue
		}
		i := l.draw(r)
		select {
		case flight <- struct{}{}:
			all.Go(func() {
				l.perform(ctx, t, i, fail)
				<-flight
			})
		default:
			l.late.Add(1)
		}
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

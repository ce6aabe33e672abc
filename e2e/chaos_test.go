package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

// The tests of chaos_*_test.go try to make a node lose work, do it twice or leave it lying. Among the other tests they are
// small; `make chaos` sets FLINT_TEST_CHAOS, and then they are as large as the variables below say.

// chaosSize returns how much of something a test of chaos does: the value of a variable, or what `make chaos` does by
// default, or little among the other tests.
func chaosSize(t testing.TB, variable string, small, full int) int {
	t.Helper()
	if os.Getenv("FLINT_TEST_CHAOS") == "" {
		return small
	}
	v := os.Getenv(variable)
	if v == "" {
		return full
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		t.Fatalf("%s: %q is not a number of at least 0", variable, v)
	}
	return n
}

// chaosDice is what chance decides by. CHAOS_SEED repeats an earlier run, as far as a machine repeats anything.
func chaosDice(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("CHAOS_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("CHAOS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// between is a random time of a range.
func between(dice *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(dice.Int64N(int64(most-least)+1))
}

// pass waits. Chaos comes at times that nothing announces.
func pass(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// chaosNode is a node that dies and comes back, on the same data.
type chaosNode struct {
	t     *testing.T
	data  string
	flags []string

	mu       sync.Mutex
	up       chan struct{} // closed while the node takes calls
	node     *node.Node
	born     time.Time // when the node took calls last
	away     []time.Duration
	attempts int // starts, also those that were not let come to their end
}

func newChaosNode(t *testing.T, data string, flags ...string) *chaosNode {
	t.Helper()
	c := &chaosNode{t: t, data: data, flags: flags, up: make(chan struct{})}
	t.Cleanup(func() {
		if n := c.current(); n != nil {
			n.Kill()
			if t.Failed() {
				t.Logf("the log of the last node:\n%s", n.Log())
			}
		}
	})
	return c
}

func (c *chaosNode) current() *node.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}

// get returns the node once it takes calls, or nil when ctx ends before.
func (c *chaosNode) get(ctx context.Context) *node.Node {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	select {
	case <-up:
		return c.current()
	case <-ctx.Done():
		return nil
	}
}

// start starts the node. When that takes longer than patience it is killed in the middle of it and started again, without
// end to the patience then.
func (c *chaosNode) start(patience time.Duration) *node.Node {
	c.t.Helper()
	begun := time.Now()
	if patience > 0 {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		defer cancel()
		c.attempts++
		if n, err := node.Launch(ctx, node.Options{Data: c.data, Args: c.flags}); err == nil { // it was quicker
			n.Kill()
		}
	}
	c.attempts++
	n, err := node.Launch(c.t.Context(), node.Options{Data: c.data, Args: c.flags})
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node, c.born = n, time.Now()
	c.away = append(c.away, c.born.Sub(begun))
	close(c.up)
	return n
}

// kill ends the node with SIGKILL.
func (c *chaosNode) kill() {
	c.mu.Lock()
	n := c.node
	c.up = make(chan struct{})
	c.mu.Unlock()
	n.Kill()
}

// worstStart is the longest time that the node took to come back.
func (c *chaosNode) worstStart() (worst time.Duration) {
	for _, d := range c.away[1:] {
		worst = max(worst, d)
	}
	return worst.Round(time.Millisecond)
}

// deploy makes a function that keeps the ledger.
func (c *chaosNode) deploy(id string, timeout int, l *ledger) *node.Function {
	c.t.Helper()
	n := c.current()
	return n.Deploy(c.t, node.Function{ID: id, Runtime: runtime(c.t, n, "node"), Entrypoint: "index.js", Timeout: timeout, Execute: []string{"any"}},
		map[string]string{"LEDGER": l.URL}, map[string]string{"index.js": read(c.t, "functions/chaos.js")})
}

// share says that n of all are.
func share(n, of int) string {
	if of == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(of))
}

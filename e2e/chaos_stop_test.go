package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestChaosStoppedNodesAndWorkers kills workers, stops them for a while or for good, and stops the node for longer than its
// leases last. CHAOS_STOPS says how often something of that happens.
func TestChaosStoppedNodesAndWorkers(t *testing.T) {
	t.Parallel()
	stops, rate := chaosSize(t, "CHAOS_STOPS", 3, 40), chaosSize(t, "CHAOS_RATE", 20, 200)
	const timeout = 5 // seconds: workers that are stopped for good are killed after it
	dice, l, b := chaosDice(t), newLedger(t), newBooks()
	c := newChaosNode(t, t.TempDir(), l.flag(), "--rate-limits=false", "--call-lease=1s")
	n := c.start(0)
	f := c.deploy("chaos", timeout, l)
	load := startChaosLoad(t, c, b, chaosGenerators(f, rate, 400))
	did := map[string]int{}
	for i := range stops {
		pass(t.Context(), between(dice, 200*time.Millisecond, 2*time.Second))
		switch kind := dice.IntN(4); {
		case i == 0 || kind == 0:
			did["node stopped"]++
			running(t, n, b, l)
			stopped(t, n.PID(), between(dice, 1200*time.Millisecond, 3*time.Second))
		case kind == 1:
			did["worker killed"]++
			oneWorker(t, n, dice, func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) })
		case kind == 2:
			did["worker stopped for a while"]++
			oneWorker(t, n, dice, func(pid int) { stopped(t, pid, between(dice, 100*time.Millisecond, time.Second)) })
		default:
			did["worker stopped for good"]++
			oneWorker(t, n, dice, func(pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) })
		}
	}
	pass(t.Context(), time.Second)
	load.stop()
	o := b.balance(t, c, f, l, timeout*time.Second+30*time.Second)
	late, err := n.Metric(t.Context(), "flint_late_results_total")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped nodes and workers:\n%s", o.table(load, "happened", fmt.Sprint(did), "late results refused", strconv.Itoa(int(late))))
	load.tolerable(t)
	if late == 0 {
		t.Error("no late result was refused although the node was stopped past its leases with calls under way")
	}
	if o.accepted == 0 || o.answered == 0 || o.completed == 0 {
		t.Error("nothing was done")
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// running waits until the node has an asynchronous call under way.
func running(t *testing.T, n *node.Node, b *books, l *ledger) {
	t.Helper()
	node.Eventually(t, 30*time.Second, func(context.Context) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for id := range b.accepted {
			if began, ended := l.of(id); began > ended {
				return nil
			}
		}
		return fmt.Errorf("no asynchronous call runs at node %d", n.PID())
	})
}

// stopped stops a process for a while.
func stopped(t *testing.T, pid int, d time.Duration) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return // it has just ended
	}
	pass(t.Context(), d)
	_ = syscall.Kill(pid, syscall.SIGCONT) // the same
}

// oneWorker does something to a worker that has a function, if there is one.
func oneWorker(t *testing.T, n *node.Node, dice *rand.Rand, do func(pid int)) {
	t.Helper()
	var workers []int
	for _, p := range descendants(t, n.PID()) {
		code := fmt.Sprintf("/proc/%d/root/usr/local/server/src/function/index.js", p.pid)
		if _, err := os.Stat(code); err == nil && strings.Contains(p.command, "/adapter/") && !strings.Contains(p.command, "bwrap") {
			workers = append(workers, p.pid)
		}
	}
	if len(workers) > 0 {
		do(workers[dice.IntN(len(workers))])
	}
}

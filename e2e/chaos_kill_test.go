package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// TestChaosKilledNodes kills the node again and again at any moment, also in the middle of its start, while calls arrive at
// a steady rate, and events and schedules run functions beside. CHAOS_KILLS and CHAOS_RATE say how often and how many a second.
func TestChaosKilledNodes(t *testing.T) {
	t.Parallel()
	kills, rate := chaosSize(t, "CHAOS_KILLS", 3, 50), chaosSize(t, "CHAOS_RATE", 20, 200)
	const timeout = 15 // seconds
	dice, l, b := chaosDice(t), newLedger(t), newBooks()
	c := newChaosNode(t, t.TempDir(), l.flag(), "--rate-limits=false")
	c.start(0)
	f := c.deploy("chaos", timeout, l)
	k := c.cause(l, timeout)
	begun := time.Now()
	load := startChaosLoad(t, c, b, append(chaosGenerators(f, rate, 100), k.generator(rate)))
	for range kills {
		pass(t.Context(), between(dice, 200*time.Millisecond, 3*time.Second))
		c.kill()
		early := time.Duration(0)
		if dice.IntN(4) == 0 {
			early = between(dice, 5*time.Millisecond, 400*time.Millisecond)
		}
		c.start(early)
	}
	pass(t.Context(), time.Second)
	load.stop()
	o := b.balance(t, c, f, l, timeout*time.Second+30*time.Second)
	rows := []string{"killed", strconv.Itoa(kills), "starts", strconv.Itoa(c.attempts), "longest time away", fmt.Sprint(c.worstStart())}
	rows = append(rows, k.balance(t, c, l, timeout*time.Second+30*time.Second)...)
	k.accounts(t, c.current(), begun, time.Now())
	t.Logf("killed nodes:\n%s", o.table(load, rows...))
	load.tolerable(t)
	if o.accepted == 0 || o.answered == 0 || o.completed == 0 {
		t.Error("nothing was done")
	}
	if err := c.current().Stop(); err != nil {
		t.Error(err)
	}
}

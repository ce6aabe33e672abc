package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestChaosClocks has the clock jump by an hour, in both directions, while calls run and wait. The machine's clock is left
// alone: to a node a clock that is set is the same as rows whose times have moved the other way.
func TestChaosClocks(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const timeout = 15
			l := newLedger(t)
			c := newChaosNode(t, t.TempDir(), l.flag(), "--call-concurrency=2")
			n := c.start(0)
			f := c.deploy("chaos", timeout, l)
			enqueue := func(ms int) string {
				t.Helper()
				e, err := n.Execute(t.Context(), f.ID, node.Call{Async: true, Path: fmt.Sprintf("/?ms=%d", ms)})
				if err != nil {
					t.Fatal(err)
				}
				return e.ID
			}
			// It runs while the clock is set, and for longer than the queue is left alone.
			long := enqueue(7000)
			begun(t, l, long)
			setClock(t, n.Data, by)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if e, err := n.Finished(ctx, f.ID, long); err != nil || e.Status != "completed" {
				t.Errorf("the call that ran while the clock was set: %+v, %v", e, err)
			}
			// Some wait while the node is away and the clock is set.
			killed := []string{enqueue(7000), enqueue(7000)} // as many as run at once
			for _, id := range killed {
				begun(t, l, id)
			}
			for range 3 {
				enqueue(0)
			}
			c.kill()
			setClock(t, n.Data, by)
			n = c.start(0)
			settled(t, n, f, 30*time.Second)
			for _, id := range killed {
				if e, err := n.Execution(ctx, f.ID, id); err != nil || e.Status != "failed" {
					t.Errorf("a call that was killed: %+v, %v", e, err)
				}
			}
			completed := 0
			for _, e := range recorded(t, n, f.ID) {
				if e.Status == "completed" {
					completed++
				}
			}
			if completed != 4 {
				t.Errorf("%d calls were completed, want 4: the one that was let alone and the three that waited", completed)
			}
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// begun waits until the body of an execution has begun.
func begun(t *testing.T, l *ledger, id string) {
	t.Helper()
	node.Eventually(t, 30*time.Second, func(context.Context) error {
		if began, _ := l.of(id); began == 0 {
			return fmt.Errorf("execution %s has not begun", id)
		}
		return nil
	})
}

// setClock moves the times in a node's rows as if its clock had been set by a duration.
func setClock(t *testing.T, data string, by time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "flint.db")+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, update := range []string{
		"update calls set due_at = due_at - $1, lease_until = case when lease_node = '' then 0 else lease_until - $1 end",
		"update executions set created_at = created_at - $1, updated_at = updated_at - $1",
	} {
		if _, err := tx.ExecContext(t.Context(), update, by.Milliseconds()); err != nil {
			t.Fatal(errors.Join(err, tx.Rollback()))
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

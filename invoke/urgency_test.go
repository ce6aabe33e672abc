package invoke

import (
	"testing"
	"time"

	"flint"
)

func TestSomeStarvingCallsAreUrgent(t *testing.T) {
	t.Parallel()
	i := &Invoker{config: Config{Concurrency: 16}}
	old := &flint.Execution{CreatedAt: time.Now().Add(-time.Minute)}
	if lane, _ := i.urgency(&flint.Execution{CreatedAt: time.Now()}); lane != 0 {
		t.Errorf("a new call is in lane %d", lane)
	}
	first, done := i.urgency(old)
	second, _ := i.urgency(old)
	third, over := i.urgency(old)
	if first != 1 || second != 1 || third != 0 {
		t.Errorf("lanes %d, %d, %d of calls that starve, want 1, 1, 0", first, second, third)
	}
	over() // it has taken nothing
	if lane, _ := i.urgency(old); lane != 0 {
		t.Errorf("lane %d while two are urgent", lane)
	}
	done()
	if lane, _ := i.urgency(old); lane != 1 {
		t.Errorf("lane %d after one has ended", lane)
	}
}

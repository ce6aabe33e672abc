package invoke

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"flint"
)

// TestExecutionsAreLightweight has an execution that somebody keeps not keep the attempt with the bodies.
func TestExecutionsAreLightweight(t *testing.T) {
	t.Parallel()
	a := newAttempt(t.Context(), &target{function: &flint.Function{}, deployment: &flint.Deployment{}}, &Call{Body: make([]byte, 1<<20)}, nil)
	a.status = 200
	a.receipt(flint.Receipt{Run: time.Second})
	a.settle()
	kept, attempt := a.execution, weak.Make(a)
	for end := time.Now().Add(10 * time.Second); attempt.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("an execution keeps its attempt in memory")
		}
	}
	if kept.Receipt == nil || kept.Receipt.Run != time.Second || kept.Receipt.Outcome != flint.OutcomeAnswered {
		t.Errorf("its receipt is %+v", kept.Receipt)
	}
}

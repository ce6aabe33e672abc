package invoke

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"flint"
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		timeout      time.Duration
		async        bool
		started      time.Duration // when a worker has it; negative: never
		want         time.Duration
		wantedReason error
	}{
		{"warm", 15 * time.Second, false, 0, 15 * time.Second, errSoftTimeout},
		{"the cold start counts", 15 * time.Second, false, 5 * time.Second, 15 * time.Second, errSoftTimeout},
		{"but leaves a second", 2 * time.Second, false, 5 * time.Second, 6 * time.Second, errSoftTimeout},
		{"a caller waits thirty seconds", 60 * time.Second, false, 0, 30 * time.Second, flint.ErrSynchronousTimeout},
		{"for a start as well", 15 * time.Second, false, 29500 * time.Millisecond, 30 * time.Second, flint.ErrSynchronousTimeout},
		{"and for one that does not come", 15 * time.Second, false, -1, 30 * time.Second, flint.ErrSynchronousTimeout},
		{"nobody waits", 60 * time.Second, true, 0, 60 * time.Second, errSoftTimeout},
		{"nobody waits, and none comes", 60 * time.Second, true, -1, 75 * time.Second, flint.ErrAsynchronousTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d deadline
				begun := time.Now()
				ctx := d.begin(t.Context(), &flint.Function{Timeout: c.timeout}, flint.SynchronousTimeout, c.async)
				defer d.stop()
				if c.started >= 0 {
					timer := time.NewTimer(c.started)
					<-timer.C
					d.run()
				}
				<-ctx.Done()
				if took := time.Since(begun); took != c.want || !errors.Is(context.Cause(ctx), c.wantedReason) {
					t.Errorf("ended after %v with %v, want %v with %v", took, context.Cause(ctx), c.want, c.wantedReason)
				}
			})
		})
	}
}

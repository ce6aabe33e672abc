package invoke

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWorkIsLeftBehind is about the bound of what is made of a queued call, in case something below has none.
func TestWorkIsLeftBehind(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		work  func(context.Context, chan struct{}) error
		want  error
		after time.Duration
		hangs string
	}{
		{"it returns", func(context.Context, chan struct{}) error { return boom }, boom, 0, ""},
		{"it obeys when it is given up", func(ctx context.Context, _ chan struct{}) error { <-ctx.Done(); return context.Cause(ctx) }, errHangs, time.Minute, ""},
		{"it obeys nobody", func(_ context.Context, release chan struct{}) error { hang(release); return nil }, errHangs, time.Minute + hangTime, "invoke.hang("},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				begun := time.Now()
				hangs, err := within(t.Context(), time.Minute, func(ctx context.Context) error { return c.work(ctx, release) })
				if took := time.Since(begun); !errors.Is(err, c.want) || took != c.after {
					t.Errorf("within() = %v after %s, want %v after %s", err, took, c.want, c.after)
				}
				if (hangs == "") != (c.hangs == "") || !strings.Contains(hangs, c.hangs) {
					t.Errorf("it hangs at %q, want %q", hangs, c.hangs)
				}
			})
		})
	}
}

//go:noinline
func hang(until chan struct{}) { <-until }

func TestTheClockWasSet(t *testing.T) {
	t.Parallel()
	var c clock
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(time.Minute), now.Add(3 * time.Hour)} { // both clocks go on
		if by := c.step(at); by != 0 {
			t.Errorf("step() = %s although nobody set it", by)
		}
	}
	if by := stepped(time.Second-time.Hour, time.Second); by != -time.Hour {
		t.Errorf("stepped() = %s, want an hour back", by)
	}
}

package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flint/internal/runner"
)

func TestTiersStopInReverseAfterTheirDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []string
		say := func(s string) { mu.Lock(); events = append(events, s); mu.Unlock() }
		service := func(name string, drain time.Duration) runner.Service {
			return runner.Service{Name: name, Run: func(ctx context.Context) error {
				<-ctx.Done()
				timer := time.NewTimer(drain)
				<-timer.C
				say(name)
				return nil
			}}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := runner.Run(ctx, []runner.Service{service("store", 0)}, []runner.Service{service("slow", time.Minute), service("quick", time.Second)}, []runner.Service{service("http", time.Hour)})
		if want := []string{"http", "quick", "slow", "store"}; err != nil || !slices.Equal(events, want) {
			t.Errorf("Run() = %v, stopped %v, want %v", err, events, want)
		}
	})
}

func TestAFailureStopsTheRest(t *testing.T) {
	boom := errors.New("boom")
	stopped := false
	err := runner.Run(t.Context(),
		[]runner.Service{{Name: "other", Run: func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil }}},
		[]runner.Service{{Name: "bad", Run: func(context.Context) error { return boom }}})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "bad") || !stopped {
		t.Errorf("Run() = %v, stopped %v", err, stopped)
	}
	err = runner.Run(t.Context(), []runner.Service{{Name: "quiet", Run: func(context.Context) error { return nil }}})
	if err == nil || !strings.Contains(err.Error(), "quiet") {
		t.Errorf("a service that just ends: Run() = %v", err)
	}
}

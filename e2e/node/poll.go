package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Poll tries until it succeeds or ctx ends. The error is the last one of try.
func Poll(ctx context.Context, try func() error) error {
	wait := 5 * time.Millisecond
	var last error
	for {
		err := try()
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			last = err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			wait = min(wait*3/2, 200*time.Millisecond)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		}
	}
}

// Eventually polls for at most the given time and fails the test when that was not enough.
func Eventually(t testing.TB, within time.Duration, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := Poll(ctx, func() error { return try(ctx) }); err != nil {
		t.Fatal(err)
	}
}

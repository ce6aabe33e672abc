package flint_test

import (
	"testing"
	"time"

	"flint"
)

func TestDeliveryNext(t *testing.T) {
	t.Parallel()
	five := flint.Delivery{MaxAttempts: 5, MinBackoff: 2, MaxBackoff: 10}
	for _, c := range []struct {
		name     string
		delivery flint.Delivery
		outcome  flint.Outcome
		tries    int
		left     time.Duration
		random   float64
		pause    time.Duration
		again    bool
	}{
		{"once by default", flint.Delivery{}, flint.OutcomeCrash, 1, time.Hour, 0.5, 0, false},
		{"an answer", five, flint.OutcomeAnswered, 1, time.Hour, 0.5, 0, false},
		{"canceled", five, flint.OutcomeCanceled, 1, time.Hour, 0.5, 0, false},
		{"nothing to run", five, flint.OutcomeUnrunnable, 1, time.Hour, 0.5, 0, false},
		{"the first pause", five, flint.OutcomeError, 1, time.Hour, 0.5, time.Second, true},
		{"doubles", five, flint.OutcomeThrottled, 2, time.Hour, 0.5, 2 * time.Second, true},
		{"up to a bound", five, flint.OutcomeTimeout, 4, time.Hour, 0.5, 5 * time.Second, true},
		{"also after many", flint.Delivery{MaxAttempts: 100, MinBackoff: 2, MaxBackoff: 10}, flint.OutcomeLost, 99, time.Hour, 0.5, 5 * time.Second, true},
		{"may be none", five, flint.OutcomeError, 1, time.Hour, 0, 0, true},
		{"all attempts made", five, flint.OutcomeError, 5, time.Hour, 0.5, 0, false},
		{"too old then", five, flint.OutcomeError, 1, time.Second, 0.5, 0, false},
		{"not this one", flint.Delivery{MaxAttempts: 2, RetryOn: []flint.Outcome{flint.OutcomeCrash}}, flint.OutcomeError, 1, time.Hour, 0.5, 0, false},
		{"but this one", flint.Delivery{MaxAttempts: 2, RetryOn: []flint.Outcome{flint.OutcomeCrash}}, flint.OutcomeCrash, 1, time.Hour, 0.5, 500 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pause, again, why := c.delivery.Next(c.outcome, c.tries, c.left, c.random)
			if pause != c.pause && again || again != c.again {
				t.Errorf("Next() = %v, %v, want %v, %v", pause, again, c.pause, c.again)
			}
			if gaveUp := !c.again && c.delivery.Retries(c.outcome); gaveUp != (why != "") {
				t.Errorf("it says %q", why)
			}
		})
	}
}

func TestDeliveryCheck(t *testing.T) {
	t.Parallel()
	for field, d := range map[string]flint.Delivery{
		"":              {MaxAttempts: 100, MinBackoff: 5, MaxBackoff: 5, MaxAge: 60, MaxConcurrent: 1000, RetryOn: flint.RetryableOutcomes()},
		"maxAttempts":   {MaxAttempts: 101},
		"minBackoff":    {MinBackoff: 301}, // the default of the other is less
		"maxBackoff":    {MaxBackoff: -1},
		"maxAge":        {MaxAge: 15 * 86400},
		"maxConcurrent": {MaxConcurrent: 1001},
		"retryOn":       {RetryOn: []flint.Outcome{flint.OutcomeAnswered}},
	} {
		if got, why := d.Check(); got != field || (why == "") != (field == "") {
			t.Errorf("Check(%+v) = %q, %q, want %q", d, got, why, field)
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]flint.Outcome{
		200: flint.OutcomeAnswered, 404: flint.OutcomeAnswered, 408: flint.OutcomeThrottled, 429: flint.OutcomeThrottled, 500: flint.OutcomeError, 503: flint.OutcomeError,
	} {
		if got := flint.OutcomeOf(status); got != want {
			t.Errorf("OutcomeOf(%d) = %s, want %s", status, got, want)
		}
	}
}

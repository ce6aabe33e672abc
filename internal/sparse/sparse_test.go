package sparse_test

import (
	"testing"
	"testing/synctest"
	"time"

	"flint/internal/sparse"
)

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g sparse.Gate
		passed, held := 0, 0
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range 90 {
			if n, ok := g.Pass(); ok {
				passed, held = passed+1, held+n
			}
			<-tick.C
		}
		if passed != 3 || held != 58 {
			t.Errorf("%d passed and told of %d others, want 3 and 58", passed, held)
		}
	})
}

package worker

import (
	"testing"
	"time"
)

func TestTurnover(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	for _, c := range []struct {
		name  string
		is    turnover
		now   time.Duration
		wants int
		while time.Duration
		want  bool
	}{
		{"nobody was given one", turnover{since: begin}, time.Second, 1, 8 * time.Second, false},
		{"thirty a second, for forty", turnover{since: begin, given: 24}, 800 * time.Millisecond, 40, 7 * time.Second, true},
		{"one a second, for forty", turnover{since: begin, given: 1}, time.Second, 40, 7 * time.Second, false},
		{"no time is left", turnover{since: begin, given: 24}, 800 * time.Millisecond, 40, -time.Second, false},
		{"a moment ago there were many", turnover{since: begin, rate: 30}, 100 * time.Millisecond, 40, 7 * time.Second, true},
		{"many, and none for a long time", turnover{since: begin, rate: 30}, 3 * time.Second, 40, 7 * time.Second, false},
	} {
		if got := c.is.soon(at(c.now), c.wants, c.while); got != c.want {
			t.Errorf("%s: soon() = %v, want %v", c.name, got, c.want)
		}
	}
	long := turnover{since: begin, given: 90}
	if !long.soon(at(3*time.Second), 40, 7*time.Second) || long.soon(at(6*time.Second), 1, 7*time.Second) {
		t.Error("what was given long ago counts")
	}
}

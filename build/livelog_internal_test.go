package build

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAGrowingLogIsToldOfAFewTimesASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var saved []string
		var told []time.Duration
		l := newLiveLog(func(text string) error { saved = append(saved, text); return nil }, func() { told = append(told, time.Since(begin)) })
		piece := strings.Repeat("x", logPiece+1)
		for range 10 { // each is saved at once
			_, _ = l.Write([]byte(piece))
			synctest.Wait()
		}
		timer := time.NewTimer(900 * time.Millisecond)
		<-timer.C
		_, _ = l.Write([]byte("y"))
		timer.Reset(time.Second)
		<-timer.C
		_, _ = l.Write([]byte("the end"))
		if err := l.close(); err != nil { // who waits for the end is told of it
			t.Error(err)
		}
		if len(saved) != 12 || saved[11] != "the end" {
			t.Errorf("saved %d times", len(saved))
		}
		if want := []time.Duration{logInterval, time.Second}; !slices.Equal(told, want) {
			t.Errorf("told at %v, want %v", told, want)
		}
	})
}

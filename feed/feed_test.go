package feed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/feed"
)

func execution(id string, change func(*flint.Execution)) *flint.Execution {
	e := &flint.Execution{
		Project: "p", ID: flint.ExecutionID(id), Function: "f", Trigger: flint.TriggerHTTP, Status: flint.ExecutionCompleted, RequestPath: "/",
	}
	if change != nil {
		change(e)
	}
	return e
}

// all returns what a follower has, in words.
func all(t *testing.T, w *feed.Follower) (got []string) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		i, err := w.Next(ended, time.Minute)
		if err != nil {
			return got
		}
		switch e := i.Entry(); e.Event {
		case "log":
			got = append(got, e.Log.Execution+" "+e.Log.Stream+" "+e.Log.Text)
		case "execution":
			got = append(got, e.Execution.ID+" "+e.Execution.Status)
		default:
			got = append(got, fmt.Sprint(e.Event, " ", e.Dropped))
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		filter feed.Filter
		want   []string
	}{
		"everything":          {feed.Filter{Logs: true}, []string{"a logs one\ntwo\n", "a completed", "b errors three\n", "b failed", "c completed"}},
		"no logs":             {feed.Filter{}, []string{"a completed", "b failed", "c completed"}},
		"a function":          {feed.Filter{Logs: true, Functions: []flint.FunctionID{"g", "x"}}, []string{"c completed"}},
		"a status":            {feed.Filter{Logs: true, Statuses: []flint.ExecutionStatus{"failed"}}, []string{"b failed"}},
		"a trigger":           {feed.Filter{Logs: true, Triggers: []flint.Trigger{"schedule"}}, []string{"b errors three\n", "b failed"}},
		"a text":              {feed.Filter{Logs: true, Text: "two"}, []string{"a logs two\n"}},
		"a text of an ending": {feed.Filter{Logs: true, Text: "/path"}, []string{"c completed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f feed.Feed
			x.filter.Project = "p"
			w := f.Follow(x.filter)
			defer w.Close()
			a, b := execution("a", nil), execution("b", func(e *flint.Execution) { e.Trigger, e.Status = "schedule", "failed" })
			f.Log(a, false, []byte("one\ntwo\n"))
			f.Publish(a)
			f.Log(b, true, []byte("three\n"))
			f.Publish(b)
			f.Publish(execution("c", func(e *flint.Execution) { e.Function, e.RequestPath = "g", "/path" }))
			f.Publish(execution("d", func(e *flint.Execution) { e.Project = "other" }))
			f.Log(execution("d", func(e *flint.Execution) { e.Project = "other" }), true, []byte("x"))
			if diff := cmp.Diff(x.want, all(t, w)); diff != "" {
				t.Errorf("followed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestASlowFollowerIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	var f feed.Feed
	w := f.Follow(feed.Filter{Project: "p", Logs: true})
	for range 1030 {
		f.Publish(execution("a", nil))
	}
	if got := all(t, w); len(got) != 1025 || got[1024] != "dropped 6" {
		t.Errorf("%d items, at the end %s", len(got), got[len(got)-1])
	}
	piece := []byte(strings.Repeat("x", 3<<20))
	f.Log(execution("a", nil), false, piece)
	f.Log(execution("a", nil), false, piece)
	f.Publish(execution("b", nil))
	if got := all(t, w); len(got) != 3 || got[1] != "b completed" || got[2] != "dropped 1" {
		t.Errorf("%d items of large pieces", len(got))
	}
	w.Close()
	f.Publish(execution("c", nil))
	if got := all(t, w); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

func TestNextWaits(t *testing.T) {
	t.Parallel()
	var f feed.Feed
	w := f.Follow(feed.Filter{Project: "p"})
	defer w.Close()
	if i, err := w.Next(t.Context(), time.Millisecond); err != nil || i != (feed.Item{}) {
		t.Errorf("of nothing came %+v, %v", i, err)
	}
	got := make(chan feed.Item)
	go func() {
		i, _ := w.Next(t.Context(), time.Minute)
		got <- i
	}()
	f.Publish(execution("a", nil))
	if i := <-got; i.Ended == nil || i.Ended.ID != "a" {
		t.Errorf("%+v", i)
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error)
	go func() {
		_, err := w.Next(t.Context(), time.Minute)
		over <- err
	}()
	stop()
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := <-over; !errors.Is(err, feed.ErrOver) {
		t.Errorf("after the feed has ended: %v", err)
	}
	late := f.Follow(feed.Filter{Project: "p"})
	defer late.Close()
	if _, err := late.Next(t.Context(), time.Minute); !errors.Is(err, feed.ErrOver) {
		t.Errorf("who comes later: %v", err)
	}
}

func BenchmarkLogWithoutReaders(b *testing.B) {
	var f feed.Feed
	e, text := execution("a", nil), []byte("a line\n")
	b.ReportAllocs()
	for b.Loop() {
		f.Log(e, false, text)
	}
}

package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCallsComeTogether(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for _, s := range together(steady("/", 400, 20*time.Millisecond), 10*time.Millisecond) {
		got = append(got, s.at)
	}
	want := []time.Duration{0, 0, 0, 0, 10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("due at (-want +got):\n%s", diff)
	}
}

package main

import (
	"testing"
	"time"
)

func TestWhichDeploymentMayAnswer(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	s := &switched{past: []activation{{"a", at(0), at(1)}, {"b", at(10), at(12)}, {"a", at(20), at(22)}}}
	for _, tt := range []struct {
		name       string
		deployment string
		from, to   int
		want       bool
	}{
		{"the only one", "a", 2, 3, true},
		{"one that comes later", "b", 2, 3, false},
		{"the next, while it is being activated", "b", 9, 11, true},
		{"the old one, while the next is being activated", "a", 11, 11, true},
		{"the old one, in a call that began before", "a", 11, 15, true},
		{"the old one, in a call that began afterwards", "a", 13, 15, false},
		{"the old one that is active again", "a", 23, 24, true},
		{"one that has been replaced again", "b", 23, 24, false},
		{"one that does not exist", "c", 2, 3, false},
	} {
		if got := s.may(tt.deployment, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

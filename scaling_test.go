package flint_test

import (
	"testing"
	"time"

	"flint"
)

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want flint.KeepAlive
		ok   bool
		text string
		stay time.Duration
	}{
		{"", flint.KeepAliveDefault, true, "default", time.Minute},
		{"default", flint.KeepAliveDefault, true, "default", time.Minute},
		{"learned", flint.KeepAliveLearned, true, "learned", time.Minute},
		{"1", 1, true, "1", time.Second},
		{"86400", 86400, true, "86400", 24 * time.Hour},
		{"86401", 0, false, "", 0},
		{"0", 0, false, "", 0},
		{"-1", 0, false, "", 0},
		{"5m", 0, false, "", 0},
	} {
		got, ok := flint.ParseKeepAlive(tt.in)
		if ok != tt.ok || ok && (got != tt.want || got.String() != tt.text || got.Duration(time.Minute) != tt.stay) {
			t.Errorf("ParseKeepAlive(%q) = %v %s, %v", tt.in, got, got.Duration(time.Minute), ok)
		}
	}
}

func TestScalingIsChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    flint.Scaling
		field string
	}{
		{flint.Scaling{}, ""},
		{flint.Scaling{MinWarm: 2, MaxWorkers: 2, CallsPerWorker: 1, KeepAlive: flint.KeepAliveLearned}, ""},
		{flint.Scaling{MinWarm: -1}, "minWarm"},
		{flint.Scaling{MinWarm: 101}, "minWarm"},
		{flint.Scaling{MinWarm: 3, MaxWorkers: 2}, "minWarm"},
		{flint.Scaling{MinWarm: 65}, "minWarm"},
		{flint.Scaling{MaxWorkers: 1001}, "maxWorkers"},
		{flint.Scaling{CallsPerWorker: 1001}, "callsPerWorker"},
	} {
		if field, why := tt.in.Check(64); field != tt.field || (why == "") != (field == "") {
			t.Errorf("%+v: %q, %q; want %q", tt.in, field, why, tt.field)
		}
	}
}

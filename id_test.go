package flint_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"flint"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^[0-9a-f]{20}$`)
	begun := time.Now()
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = flint.NewID()
		if !pattern.MatchString(ids[i]) || !flint.ValidID(ids[i]) {
			t.Fatalf("%q is no identifier", ids[i])
		}
	}
	seconds, err := strconv.ParseInt(ids[0][:8], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	micros, err := strconv.ParseInt(ids[0][8:13], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if at := time.Unix(seconds, micros*1000); at.Before(begun.Truncate(time.Microsecond)) || at.After(time.Now()) {
		t.Errorf("%s says %v, made after %v", ids[0], at, begun)
	}
	if !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(a[:13], b[:13]) }) {
		t.Error("later ones sort before earlier ones")
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 1000 {
		t.Error("two are the same")
	}
}

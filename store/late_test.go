package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// TestListsOfChangesAreWhole holds conditions on the time of change and the order of it to the plain reading, among executions that
// follow each other more quickly than they end.
func TestListsOfChangesAreWhole(t *testing.T) {
	t.Parallel()
	for name, slowest := range map[string]int{"none late": 11, "some late": 14} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			begin := time.UnixMilli(1_700_000_000_000)
			const rows = 60
			for i := range rows {
				e := sample(fmt.Sprintf("e%02d", i), s.f)
				e.CreatedAt = begin.Add(time.Duration(i) * time.Second)
				e.UpdatedAt = e.CreatedAt.Add(time.Duration(i*7919%slowest) * time.Second)
				must(t, s.AppendExecution(t.Context(), e))
			}
			for i := 0; i < rows; i += 5 {
				at, later, cursor := begin.Add(time.Duration(i)*time.Second), begin.Add(time.Duration(i+4)*time.Second), fmt.Sprintf("e%02d", i)
				for _, l := range []flint.List{
					{Filters: where("$updatedAt", "greaterThan", at), Limit: 5},
					{Filters: where("$updatedAt", "lessThanEqual", at), Orders: by("$createdAt", true), Limit: 5},
					{Filters: where("$updatedAt", "between", at, later), Limit: rows},
					{Filters: append(where("$updatedAt", "between", at, later), where("$createdAt", "greaterThan", at)...), Limit: rows},
					{Filters: append(where("$updatedAt", "equal", at), where("requestMethod", "equal", "POST")...), Limit: rows},
					{Orders: by("$updatedAt", true), Limit: 1 + i%9, Offset: i},
					{Orders: by("$updatedAt", false), Limit: 1 + i%9, Offset: i},
					{Orders: by("$updatedAt", true), Limit: 1 + i%9, Cursor: cursor},
					{Orders: by("$updatedAt", false), Limit: 1 + i%9, Cursor: cursor},
					{Orders: by("$updatedAt", true), Limit: 1 + i%9, Cursor: cursor, CursorBefore: true},
					{Orders: by("$updatedAt", false), Limit: 1 + i%9, Offset: 1, Cursor: cursor, CursorBefore: true},
				} {
					plain := s.executionLister("p", "f", l)
					plain.noun.late, plain.noun.parts = nil, nil
					if d := cmp.Diff(readIDs(t, plain), readIDs(t, s.executionLister("p", "f", l))); d != "" {
						t.Errorf("%+v (-all rows +plan):\n%s", l, d)
					}
				}
			}
		})
	}
}

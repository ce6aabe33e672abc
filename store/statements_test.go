package store

import (
	"fmt"
	"sync"
	"testing"
)

// TestStatementsAskedForLastStayPrepared asks for more texts than are kept, at once.
func TestStatementsAskedForLastStayPrepared(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ask := func(i int) {
		var n int
		err := s.each(t.Context(), fmt.Sprintf("select %d + $1", i), []any{1}, func(row scanner) error { return row.Scan(&n) })
		if err != nil || n != i+1 {
			t.Errorf("select %d + 1 = %d, %v", i, n, err)
		}
	}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for i := range 3 * maxStatements {
				ask(i)
			}
		})
	}
	callers.Wait()
	for i := range maxStatements + 1 {
		ask(1000 + i)
	}
	s.warm.mu.Lock()
	defer s.warm.mu.Unlock()
	if len(s.warm.known) != maxStatements || s.warm.known["select 1000 + $1"] != nil || s.warm.known["select 1001 + $1"] == nil {
		t.Errorf("%d statements are kept, and not those that were asked for last", len(s.warm.known))
	}
	for query, known := range s.warm.known {
		if known.readers != 0 {
			t.Errorf("%q has %d readers", query, known.readers)
		}
	}
}

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
				ask(0)
			}
		})
	}
	callers.Wait()
	s.warm.mu.Lock()
	defer s.warm.mu.Unlock()
	if len(s.warm.known) != maxStatements || s.warm.known["select 0 + $1"] == nil {
		t.Errorf("%d statements are kept, the one asked for again and again among them: %v", len(s.warm.known), s.warm.known["select 0 + $1"] != nil)
	}
	for query, known := range s.warm.known {
		if known.readers != 0 {
			t.Errorf("%q has %d readers", query, known.readers)
		}
	}
}

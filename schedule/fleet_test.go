package schedule

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // looks into the database beside the store

	"flint"
)

const (
	fleetVariable  = "FLINT_TEST_SCHEDULE_MINUTES" // how long the fleet runs, by the clock of its test: 4320 are three days
	fleetMinutes   = 2
	fleetFunctions = 1000
	fleetCount     = 60 // minutes after which everything is counted and taken away
)

// TestFleet has a thousand functions run every minute and counts every run. The clock, which is moved, stumbles now and then.
func TestFleet(t *testing.T) {
	all := fleetMinutes
	if v := os.Getenv(fleetVariable); v != "" {
		var err error
		if all, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", fleetVariable, err)
		}
	}
	b := newBed(t)
	var makers sync.WaitGroup
	for first := range 50 { // they share commits
		makers.Go(func() {
			for i := first; i < fleetFunctions; i += 50 {
				if err := b.create(flint.FunctionID(fmt.Sprintf("f%04d", i)), "* * * * *", flint.ScheduleSettings{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	begin := b.begin()
	db, err := sql.Open("sqlite", "file:"+b.path+"?_pragma=busy_timeout(60000)")
	b.must(err)
	defer db.Close()

	s := b.scheduler()
	var spent time.Duration
	runs, counted := 0, 0
	for minute := range all {
		before := time.Now()
		b.fire(s)
		spent += time.Since(before)
		if minute%17 == 0 { // back and forth, with a scheduler that starts anew
			s = b.scheduler()
			b.move(-time.Hour)
			b.fire(s)
			b.move(time.Hour)
			b.fire(s)
		}
		b.move(time.Minute)
		if counted++; counted == fleetCount || minute == all-1 {
			runs += b.countFleet(db, counted)
			counted = 0
		}
	}
	for i := range fleetFunctions {
		v := b.schedule(flint.FunctionID(fmt.Sprintf("f%04d", i)))
		if v.Runs != int64(all) || v.Skipped != 0 || !v.Next.Equal(begin.Add(time.Duration(all)*time.Minute)) {
			t.Fatalf("%s: %d runs, %d skipped, next at %s; want %d, none, %s", v.Function, v.Runs, v.Skipped, v.Next, all, b.now())
		}
	}
	if runs != all*fleetFunctions {
		t.Errorf("%d executions, want %d", runs, all*fleetFunctions)
	}
	t.Logf("%d runs in %s: %.0f a second", runs, spent.Round(time.Millisecond), float64(runs)/spent.Seconds())
}

// countFleet returns how many executions there are, of which every function must have one for each of the last minutes, and takes
// them away with their calls.
func (b *bed) countFleet(db *sql.DB, minutes int) (runs int) {
	b.t.Helper()
	var functions, least, most, distinct int
	b.must(db.QueryRowContext(b.t.Context(), `select count(*), coalesce(sum(n), 0), min(n), max(n), min(d) from (select count(*) as n, count(distinct created_at) as d
		from executions join calls using (id) join call_requests using (id) group by executions.owner)`).Scan(&functions, &runs, &least, &most, &distinct))
	if functions != fleetFunctions || least != minutes || most != minutes || distinct != minutes {
		b.t.Fatalf("%d functions with %d to %d executions at %d times, want %d with %d", functions, least, most, distinct, fleetFunctions, minutes)
	}
	for _, query := range []string{"delete from calls", "delete from call_requests", "delete from executions"} {
		_, err := db.ExecContext(b.t.Context(), query)
		b.must(err)
	}
	return runs
}

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"time"
)

// An index in an order that is not that of the calls takes each row at another place, which costs a call as much as all
// the rest of its record. Such indexes are kept behind the calls: one goroutine takes the rows that came since, many at a time,
// and readers look at those that it has not come to one by one. See schema/0005_behind.sqlite.sql.

const (
	behindRows  = 128  // rows that are taken in one transaction: others wait for it
	behindFrom  = 256  // rows that are worth it; up to twice as many are looked at one by one for good
	behindMost  = 4096 // rows that are looked at one by one; with more of them lists do without these indexes
	behindShare = 4    // times as long as the work took, others have the machine for themselves
	behindBusy  = 300  // calls a second with which it is a long time:
	busyShare   = 49
	behindRetry = time.Minute            // after a failure
	behindPaths = 256                    // paths that are read to be looked up one by one
	behindLimit = 500 * time.Millisecond // the longest rest
	busyLimit   = 5 * time.Second        // and with so many calls that the rows cannot be kept up with anyway
)

// indexBehind keeps the indexes behind the calls until ctx ends.
func (s *Store) indexBehind(ctx context.Context) {
	timer := time.NewTimer(0) // of the next try after a failure, and of rests
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.writer.behind:
		case <-timer.C:
		}
		written, since := s.writer.written.Load(), time.Now()
		for more := true; more; {
			begin := time.Now()
			var err error
			if more, err = s.indexRows(ctx, behindFrom, behindRows); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "indexes of executions not brought up to date", slog.String("err", err.Error()))
				more = false
				timer.Reset(behindRetry)
			}
			if !more {
				continue
			}
			worked, share, limit := time.Since(begin), 1.0*behindShare, behindLimit
			if float64(s.writer.written.Load()-written) > behindBusy*time.Since(since).Seconds() {
				share, limit = busyShare, busyLimit
			}
			timer.Reset(min(time.Duration(share*float64(worked)), limit))
			written, since = s.writer.written.Load(), time.Now()
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
	}
}

// wroteBehind counts rows that the indexes behind the calls may have to take, and has them looked at now and then.
func (w *writer) wroteBehind(n int) {
	if after := w.written.Add(int64(n)); after/behindFrom != (after-int64(n))/behindFrom {
		w.behind.Ring()
	}
}

// indexRows takes up to most rows into the indexes if there are at least a number of them, and reports whether it did.
func (s *Store) indexRows(ctx context.Context, least, most int) (more bool, err error) {
	waiting, err := s.behind(ctx)
	if err != nil || waiting < least || waiting == 0 {
		return false, err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := indexAgain(ctx, t, most); err != nil {
			return err
		}
		var upto, last int64
		if _, err := t.one(ctx, "select upto from execution_behind", nil, func(r scanner) error { return r.Scan(&upto) }); err != nil {
			return err
		}
		if _, err := t.one(ctx, "select coalesce(max(n), 0) from (select rowid as n from executions where rowid > $1 order by rowid limit $2)", []any{upto, most},
			func(r scanner) error { return r.Scan(&last) }); err != nil || last == 0 {
			return err
		}
		if err := t.exec(ctx, "insert into execution_ranks (rowid, places) select t.rowid, "+rankTerms+" from executions t where t.rowid > $1 and t.rowid <= $2",
			upto, last); err != nil {
			return err
		}
		if err := t.exec(ctx, `insert into execution_paths (owner, path, n) select t.owner, t.path, count(*) from executions t
			where t.rowid > $1 and t.rowid <= $2 and t.path <> '/' group by t.owner, t.path
			on conflict (owner, path) do update set n = execution_paths.n + excluded.n`, upto, last); err != nil {
			return err
		}
		for _, query := range []string{countRows, countSpans} {
			if err := t.exec(ctx, query, upto, last); err != nil {
				return err
			}
		}
		return t.exec(ctx, "update execution_behind set upto = $1", last)
	})
	return err == nil, err
}

// indexAgain takes rows that have changed.
func indexAgain(ctx context.Context, t *tx, most int) error {
	var last sql.NullInt64
	if _, err := t.one(ctx, "select max(row) from (select row from execution_again order by row limit $1)", []any{most},
		func(r scanner) error { return r.Scan(&last) }); err != nil || !last.Valid {
		return err
	}
	for _, query := range []string{
		"delete from execution_ranks where rowid in (select row from execution_again where row <= $1)",
		"insert into execution_ranks (rowid, places) select t.rowid, " + rankTerms + ` from execution_again a cross join executions t
			where a.row <= $1 and a.row <= (select upto from execution_behind) and t.rowid = a.row`,
		"delete from execution_again where row <= $1",
	} {
		if err := t.exec(ctx, query, last.Int64); err != nil {
			return err
		}
	}
	return nil
}

const readBehind = `select (select coalesce(max(rowid), 0) from executions) - (select upto from execution_behind) +
	(select count(*) from (select 1 from execution_again limit 4097))`

// behind returns about how many rows the indexes behind the calls have not come to.
func (s *Store) behind(ctx context.Context) (n int, err error) {
	err = s.one(ctx, readBehind, nil, func(r scanner) error { return r.Scan(&n) })
	return n, err
}

// near reports whether so few rows are not in the indexes behind the calls that these are of use.
func (r *lister[T]) near(ctx context.Context) (bool, error) {
	n, err := r.store.behind(ctx)
	return n <= behindMost, err
}

// rankTerms are the places of a row in the two directions.
const rankTerms = "rank(t.owner, t.duration, t.created_at, t.id, 2)"

// rankedRow is what the numbers of rankedKeys are.
const rankedRow = "t.rowid"

// rankedKeys compiles the numbers of rows in the order of their durations, after a position. Its parts are merged as they are read.
func rankedKeys(c *compiler, scope string, down bool, start []any) string {
	way := c.bind(int64(0))
	if down {
		way = c.bind(int64(1))
	}
	from := "rank(" + ownerUID + ", " + way + ")"
	if start != nil {
		from = "rank(" + ownerUID + ", " + c.bind(start[0]) + ", " + c.bind(start[1]) + ", " + c.bind(start[2]) + ", " + way + ")"
	}
	term := "rank(t.owner, t.duration, t.created_at, t.id, " + way + ")"
	later := " and " + scope + " and " + term + " > " + from
	return "select v.doc as k, v.term as r from execution_ranked v where v.term > " + from + " and v.term < rank(" + ownerUID + ", " + way + ") || 'w'" +
		" and v.doc not in (select row from execution_again)" +
		" union all select t.rowid, " + term + " from executions t not indexed where t.rowid > (select upto from execution_behind)" + later +
		" union all select t.rowid, " + term + " from execution_again a cross join executions t where a.row <= (select upto from execution_behind)" +
		" and t.rowid = a.row" + later + " order by r"
}

// pathsMeeting compiles the paths that meet a condition.
func pathsMeeting(scope, condition, match string) string {
	return "(select t.path from " + pathsIndexed(scope, condition, match) +
		" union all select * from (select distinct t.path from " + pathsLater(scope, condition) +
		" and not exists (select 1 from execution_paths q where q.owner = t.owner and q.path = t.path)) new)"
}

// pathsCounted compiles the paths that meet a condition, and how many executions have each. A path may be there twice.
func pathsCounted(scope, condition, match string) string {
	return "(select t.path, t.n from " + pathsIndexed(scope, condition, match) +
		" union all select * from (select t.path, count(*) as n from " + pathsLater(scope, condition) + " group by t.path) new)"
}

func pathsIndexed(scope, condition, match string) string {
	known := "execution_paths t where "
	if match != "" {
		known = "path_search s cross join execution_paths t where s.path_search match " + ownerPhrase + " || ' AND (' || " + match + " || ')' and t.id = s.rowid and "
	}
	return known + scope + " and " + condition
}

func pathsLater(scope, condition string) string {
	return "executions t not indexed where t.rowid > (select upto from execution_behind) and " + scope + " and t.path <> '/' and " + condition
}

// pathsKnown compiles paths that have been read.
func pathsKnown(c *compiler, paths []string) string {
	list, err := json.Marshal(paths)
	if err != nil {
		panic(err) // texts have no such error
	}
	return "(select value as path from json_each(" + c.bind(string(list)) + "))"
}

// ownerUID is the owner that the scope of a list of executions is about, ownerPhrase what stands for it in the index of paths.
const (
	ownerUID    = "(select f.uid from functions f where f.project = $1 and f.id = $2)"
	ownerPhrase = `(select '"' || char(57344 + f.uid % 6400, 57344 + f.uid / 6400 % 6400, 57344 + f.uid / 40960000 % 6400) || '"' from functions f where f.project = $1 and f.id = $2)`
)

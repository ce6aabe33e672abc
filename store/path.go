package store

import (
	"context"
	"errors"
	"math"
	"slices"

	"flint"
)

// byRank reports whether the page of a list without conditions is read in the order of durations.
func (r *lister[T]) byRank(ctx context.Context) (bool, error) {
	if !r.noun.behind || r.random || r.times != allTimes() || len(r.keys) != 3 || r.keys[0].expr != "t.duration" || r.mixed() {
		return false, nil
	}
	return r.near(ctx)
}

func (r *lister[T]) mixed() bool {
	for _, k := range r.keys {
		if k.down != r.keys[0].down {
			return true
		}
	}
	return false
}

// need is how many rows there must be for a full page.
func (r *lister[T]) need() int64 {
	if n := int64(limit(r.list)) + int64(max(r.list.Offset, 0)); n >= 0 {
		return n
	}
	return math.MaxInt64
}

// throughPaths makes the way to the executions whose paths meet a condition one through these paths.
func (r *lister[T]) throughPaths(ctx context.Context, w *way) (err error) {
	if w.paths, err = r.near(ctx); err != nil || !w.paths {
		return err
	}
	grams := pathGrams(r.list.Filters[w.filter])
	if slices.ContainsFunc(grams, func(g []string) bool { return len(g) > 1 }) {
		sample, err := r.newestPaths(ctx)
		if err != nil {
			return err
		}
		for i := range grams {
			grams[i] = rareGrams(grams[i], sample)
		}
	}
	w.match = matchGrams(grams)
	if err = r.knownPaths(ctx, w); w.more && len(r.list.Filters) > 1 {
		w.known, w.more = nil, false
	}
	return err
}

// choosePaths decides how a list is read that has one condition, which paths of executions meet. What the paths have is known. Where
// that is little of some paths although there are many, it is cheaper to go through the executions, if the newest ones say that many of
// them meet the condition.
func (r *lister[T]) choosePaths(ctx context.Context, w way) (plan, error) {
	n, err := r.pathTotal(ctx, w)
	if err != nil {
		return plan{}, err
	}
	if w.more && n < flint.MaxListTotal {
		if dense, err := r.dense(ctx); err != nil || dense {
			return plan{total: -1}, err
		}
		w.known, w.more = nil, false
		if n, err = r.pathTotal(ctx, w); err != nil {
			return plan{}, err
		}
	}
	p := plan{total: n}
	if n < fewRows {
		p.page = w
	}
	return p, nil
}

// pathTotal returns how many executions have the paths of a way, up to where totals stop.
func (r *lister[T]) pathTotal(ctx context.Context, w way) (n int, err error) {
	switch {
	case r.times != allTimes():
		return r.reach(ctx, w, flint.MaxListTotal)
	case w.known != nil:
		return min(w.number, flint.MaxListTotal), nil
	}
	c := r.compiler()
	paths, err := r.pathsCounted(c, w)
	if err != nil {
		return 0, err
	}
	err = r.each(ctx, "select coalesce(sum(n), 0) from "+paths, c.args, func(s scanner) error { return s.Scan(&n) })
	return min(n, flint.MaxListTotal), err
}

// errEnough ends the reading of rows.
var errEnough = errors.New("no more rows are needed")

// knownPaths reads the paths that meet a way's condition: all or, if there are more, so many of them, or none. Where their executions
// are all that counts it stops as soon as these are as many as totals go.
func (r *lister[T]) knownPaths(ctx context.Context, w *way) error {
	c := r.compiler()
	paths, err := r.pathsCounted(c, *w)
	if err != nil {
		return err
	}
	alone := len(r.list.Filters) == 1 && r.times == allTimes()
	seen := map[string]bool{}
	known, number, whole, more := []string{}, 0, true, false
	err = r.each(ctx, "select path, n from "+paths, c.args, func(s scanner) error {
		var path string
		var n int
		if err := s.Scan(&path, &n); err != nil {
			return err
		}
		if whole = searchable(path); !whole { // it could not be handed back as it is
			return errEnough
		}
		if !seen[path] {
			if more = len(known) == behindPaths; more {
				return errEnough
			}
			seen[path], known = true, append(known, path)
		}
		if number += n; alone && number >= flint.MaxListTotal {
			more = true
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if whole {
		w.known, w.number, w.more = known, number, more
	}
	return nil
}

// pathsMeeting compiles the paths that meet a way's condition.
func (r *lister[T]) pathsMeeting(c *compiler, w way) (string, error) {
	condition, err := r.noun.condition(c, r.list.Filters[w.filter])
	return pathsMeeting(r.noun.scope, condition, c.match(w)), err
}

// pathsCounted compiles the paths that meet a way's condition, and how many executions have each.
func (r *lister[T]) pathsCounted(c *compiler, w way) (string, error) {
	condition, err := r.noun.condition(c, r.list.Filters[w.filter])
	return pathsCounted(r.noun.scope, condition, c.match(w)), err
}

func (c *compiler) match(w way) string {
	if w.match == "" {
		return ""
	}
	return c.bind(w.match)
}

// newestPaths returns the paths of the newest executions, in small letters. They stand for all.
func (r *lister[T]) newestPaths(ctx context.Context) (paths []string, err error) {
	c := r.compiler()
	err = r.each(ctx, "select t.path from "+r.noun.from+" where "+r.noun.scope+" order by t.created_at desc, t.id desc limit "+c.bind(int64(sampleRows)), c.args,
		func(s scanner) error {
			var path string
			err := s.Scan(&path)
			paths = append(paths, lower(path))
			return err
		})
	return paths, err
}

// sampleRows is how many of the newest rows stand for all.
const sampleRows = 64

// dense reports whether half of the newest rows are in the list.
func (r *lister[T]) dense(ctx context.Context) (bool, error) {
	c := r.compiler()
	where, err := r.where(c, way{}, r.times, nil)
	if err != nil {
		return false, err
	}
	n := 0
	err = r.each(ctx, "select coalesce(sum(p.hit), 0) from (select case when "+where+" then 1 else 0 end as hit from "+r.noun.from+
		" where "+r.noun.scope+" order by t.created_at desc, t.id desc limit "+c.bind(int64(sampleRows))+") p", c.args, func(s scanner) error { return s.Scan(&n) })
	return 2*n >= sampleRows, err
}

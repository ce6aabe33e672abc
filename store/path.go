package store

import (
	"context"
	"math"

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
	w.known, w.more, err = r.knownPaths(ctx, w.filter)
	if w.more && len(r.list.Filters) > 1 {
		w.known, w.more = nil, false
	}
	return err
}

// choosePaths decides how a list is read that has one condition, which paths of executions meet. What some of the paths have is
// counted. Where that is little although there are many paths, it is cheaper to go through the executions, if the newest ones say
// that many of them meet the condition.
func (r *lister[T]) choosePaths(ctx context.Context, w way) (plan, error) {
	n, err := r.reach(ctx, w, flint.MaxListTotal)
	if err != nil {
		return plan{}, err
	}
	if w.more && n < flint.MaxListTotal {
		if dense, err := r.dense(ctx); err != nil || dense {
			return plan{total: -1}, err
		}
		w.known, w.more = nil, false
		if n, err = r.reach(ctx, w, flint.MaxListTotal); err != nil {
			return plan{}, err
		}
	}
	p := plan{total: n}
	if n < fewRows {
		p.page = w
	}
	return p, nil
}

// knownPaths returns paths that meet a condition: all or, if there are more, so many of them, or nothing.
func (r *lister[T]) knownPaths(ctx context.Context, filter int) (known []string, more bool, err error) {
	c := r.compiler()
	paths, err := r.pathsMeeting(c, filter)
	if err != nil {
		return nil, false, err
	}
	known = []string{}
	whole := true
	err = r.each(ctx, "select path from "+paths+" limit "+c.bind(int64(behindPaths+1)), c.args, func(s scanner) error {
		var path string
		err := s.Scan(&path)
		known, whole = append(known, path), whole && searchable(path)
		return err
	})
	if !whole { // some could not be handed back as they are
		return nil, false, err
	}
	if more = len(known) > behindPaths; more {
		known = known[:behindPaths]
	}
	return known, more, err
}

// pathsMeeting compiles the paths that meet a condition.
func (r *lister[T]) pathsMeeting(c *compiler, filter int) (string, error) {
	q := r.list.Filters[filter]
	condition, err := r.noun.condition(c, q)
	return pathsMeeting(c, r.noun.scope, condition, pathMatch(q)), err
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

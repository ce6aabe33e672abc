package store

import (
	"context"
	"math"

	"flint"
)

// byRank reports whether the page of a list without conditions is read in the order of durations.
func (r *lister[T]) byRank(ctx context.Context) (bool, error) {
	if !r.noun.behind || r.random || r.times != allTimes() || len(r.keys) != 3 || r.keys[0].expr != "t.duration" || r.mixed() || r.need() > flint.MaxListTotal {
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

// choosePaths decides how a list is read that has one condition, which paths of executions meet. What few paths have is counted.
// Where there are many paths, each with few executions, it is cheaper to go through the executions, if the newest ones say that
// many of them meet the condition.
func (r *lister[T]) choosePaths(ctx context.Context, w way) (plan, error) {
	w.some = behindPaths
	n, err := r.reach(ctx, w, flint.MaxListTotal)
	if err != nil {
		return plan{}, err
	}
	if n < flint.MaxListTotal {
		paths, err := r.paths(ctx, w)
		if err != nil {
			return plan{}, err
		}
		if paths == behindPaths {
			if dense, err := r.dense(ctx); err != nil || dense {
				return plan{total: -1}, err
			}
			w.some = 0
			if n, err = r.reach(ctx, w, flint.MaxListTotal); err != nil {
				return plan{}, err
			}
		}
	}
	p := plan{total: n}
	if w.some = 0; n < fewRows {
		p.page = w
	}
	return p, nil
}

// paths counts the paths of a way.
func (r *lister[T]) paths(ctx context.Context, w way) (n int, err error) {
	c := r.compiler()
	from, err := r.pathsOf(c, w)
	if err != nil {
		return 0, err
	}
	err = r.each(ctx, "select count(*) from "+from, c.args, func(s scanner) error { return s.Scan(&n) })
	return n, err
}

// sampleRows is how many of the newest rows stand for all.
const sampleRows = 100

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

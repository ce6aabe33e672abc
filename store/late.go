package store

import (
	"context"
	"time"

	"flint"
)

// lateLag is how long after its creation an execution changes for the last time, mostly.
const lateLag = int64(10 * time.Second / time.Millisecond)

// lateExecutions is the index of the executions that changed later, or before their creation.
func lateExecutions() *part {
	return &part{index: "executions_late", attribute: "$updatedAt", only: "t.updated_at - t.created_at not between 0 and 10000"}
}

// changed turns conditions on the time of change into one on the time of creation, which is hardly earlier. Where there are rows for
// which that is not so, late says in which time the others were created; where these are many nothing is gained.
func (r *lister[T]) changed(ctx context.Context) error {
	if r.noun.late == nil {
		return nil
	}
	all := allTimes()
	which := map[int]bool{}
	for i, q := range r.list.Filters {
		if q.Attribute != "$updatedAt" {
			continue
		}
		_, values, err := r.noun.operands(q)
		if err != nil {
			return err
		}
		if s, ok := rangeOf(q.Method, values); ok {
			all, which[i] = span{max(all.first, s.first), min(all.last, s.last)}, true
		}
	}
	if len(which) == 0 {
		return r.changedLast(ctx)
	}
	sure := all // created then, changed soon after: in the list
	if all.last < lastTime {
		sure.last -= lateLag
	}
	if all.first > firstTime+lateLag {
		all.first -= lateLag
	}
	all = span{max(all.first, r.times.first), min(all.last, r.times.last)}
	w := way{part: r.noun.late, filter: -1}
	c := r.compiler()
	where, err := r.where(c, w, r.times, func(i int) bool { return which[i] })
	if err != nil {
		return err
	}
	switch n, err := r.limited(ctx, c, using(r.noun.from, w.part.index)+" where "+where, fewRows); {
	case err != nil:
		return err
	case n == 0:
		r.times = all
	case n < fewRows:
		r.late = &all
	}
	if len(which) == len(r.list.Filters) && !r.list.NoTotal {
		return r.surely(ctx, span{max(sure.first, r.times.first), min(sure.last, r.times.last)})
	}
	return nil
}

// surely finds out whether a list is as long as totals go because so many rows were created in a time, of which all are in the list but
// those that changed late. To look at the time of change of each is dear.
func (r *lister[T]) surely(ctx context.Context, s span) error {
	w := way{part: r.noun.late, filter: -1}
	none := func(int) bool { return false }
	c := r.compiler()
	where, err := r.where(c, w, allTimes(), none)
	if err != nil {
		return err
	}
	late, err := r.limited(ctx, c, using(r.noun.from, w.part.index)+" where "+where, fewRows)
	if err != nil || late == fewRows {
		return err
	}
	c = r.compiler()
	if where, err = r.where(c, way{}, s, none); err != nil {
		return err
	}
	found, err := r.beyond(ctx, c, r.noun.from+" where "+where, flint.MaxListTotal+late)
	if found {
		r.known = flint.MaxListTotal
	}
	return err
}

// timesOf is the time in which the rows of a way were created.
func (r *lister[T]) timesOf(w way) span {
	if w.prompt {
		return *r.late
	}
	return r.times
}

// changedLast finds the time in which the rows of a page were created that is in the order of change: as many as it needs that were
// created on the one side of where it begins changed there too, none of them much later than it was created.
func (r *lister[T]) changedLast(ctx context.Context) error {
	if r.random || len(r.list.Filters) > 0 || len(r.keys) != 3 || r.keys[0].expr != "t.updated_at" || r.mixed() {
		return nil
	}
	down := r.keys[0].down
	window, counted := r.times, r.times // of what the page may show, and of what surely comes after its beginning
	if r.start != nil {
		at, _ := r.start[0].(int64)
		if down {
			window.last, counted.last = min(window.last, at), min(counted.last, at-lateLag-1)
		} else {
			window.first, counted.first = max(window.first, at-lateLag), max(counted.first, at+1)
		}
	}
	c := r.compiler()
	where, err := r.where(c, way{prompt: true}, counted, nil)
	if err != nil {
		return err
	}
	query := "select t.created_at from " + r.noun.from + " where " + where + " order by " + orderText([]key{{"t.created_at", down}, {"t.id", down}}, false) +
		" limit 1 offset " + c.bind(r.need()-1)
	err = r.each(ctx, query, c.args, func(s scanner) error {
		var at int64
		err := s.Scan(&at)
		if down {
			window.first = max(window.first, at-lateLag)
		} else {
			window.last = min(window.last, at+lateLag)
		}
		return err
	})
	r.late, r.recent = &window, true
	return err
}

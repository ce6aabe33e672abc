package store

import (
	"context"
	"slices"

	"flint"
)

// The goroutine of the indexes behind the calls also counts executions: for each function those that are alike in what conditions look
// at. The total of a list is then the sum of a few numbers. See schema/0010_counts.sqlite.sql.

const (
	tallyKinds = 1024 // numbers that are added up: a function whose executions differ more is counted as if there were none
	tallyLater = 1024 // rows that are looked at one by one, whosever they are
)

// countRows counts the rows whose numbers are above one and up to another.
const countRows = `insert into execution_counts (owner, status, trigger, method, status_code, path, duration, n)
	select t.owner, t.status, t.trigger, t.method, t.status_code, case t.path when '/' then '/' else '' end,
	case when t.duration >= 1 then 1.0 else 0.0 end, count(*) from executions t not indexed where t.rowid > $1 and t.rowid <= $2 group by 1, 2, 3, 4, 5, 6, 7
	on conflict (owner, status, trigger, method, status_code, path, duration) do update set n = execution_counts.n + excluded.n`

// countSpans counts the same rows by their deployments, whose spans were there before them.
const countSpans = `update execution_spans set n = execution_spans.n + x.n from (select t.owner, t.deployment, count(*) as n from executions t not indexed
	where t.rowid > $1 and t.rowid <= $2 group by 1, 2) x where execution_spans.owner = x.owner and execution_spans.deployment = x.deployment`

// tallied is what the counters are asked for a list.
type tallied struct {
	from    string
	only    []flint.Query // which of these count; nil: they are found by the filters
	filters []flint.Query // which of the rows count that have not been counted
	exact   bool          // what counts is the list; otherwise it is a part of it
}

// askable returns what the counters can be asked for a list.
func (r *lister[T]) askable() (a tallied, ok bool) {
	if !r.noun.behind || r.list.NoTotal || r.list.Search != "" {
		return a, false
	}
	if f := r.list.Filters; len(f) == 1 && f[0].Attribute == "deploymentId" && f[0].Method == "equal" {
		return tallied{from: "execution_spans", filters: f, exact: true}, true
	}
	a = tallied{from: "execution_counts", filters: []flint.Query{}, exact: true}
	for _, q := range r.list.Filters {
		counted, same, ok := countable(q)
		if !ok {
			return a, false
		}
		a.filters, a.exact = append(a.filters, counted), a.exact && same
	}
	a.only = a.filters
	return a, true
}

// tally returns the total of a list where the counters say it, and otherwise a negative number.
func (r *lister[T]) tally(ctx context.Context) (int, error) {
	const unknown = -1
	a, ok := r.askable()
	if !ok {
		return unknown, nil
	}
	c := r.compiler()
	which, err := r.met(c, a.only)
	if err != nil {
		return unknown, err
	}
	within := ""
	if a.only == nil {
		if within, err = r.met(c, a.filters); err != nil {
			return unknown, err
		}
	}
	later, err := r.met(c, a.filters)
	if err != nil {
		return unknown, err
	}
	query := "select x.n, x.kinds, case when x.n >= " + c.bind(int64(flint.MaxListTotal)) + " then 0" +
		" when (select coalesce(max(rowid), 0) from executions) - (select upto from execution_behind) > " + c.bind(int64(tallyLater)) + " then -1" +
		" else (select count(*) from executions t not indexed where t.rowid > (select upto from execution_behind) and " + r.noun.scope + later + ") end" +
		" from (select coalesce(sum(y.n), 0) as n, count(*) as kinds from (select case when 1 = 1" + which + " then t.n else 0 end as n" +
		" from " + a.from + " t where " + r.noun.scope + within + " limit " + c.bind(int64(tallyKinds+1)) + ") y) x"
	var n, kinds, more int
	if err := r.each(ctx, query, c.args, func(s scanner) error { return s.Scan(&n, &kinds, &more) }); err != nil {
		return unknown, err
	}
	n = min(n+more, flint.MaxListTotal)
	if kinds > tallyKinds || more < 0 || !a.exact && n < flint.MaxListTotal {
		return unknown, nil
	}
	return n, nil
}

// met compiles conditions that all hold.
func (r *lister[T]) met(c *compiler, filters []flint.Query) (text string, err error) {
	for _, q := range filters {
		p, err := r.noun.condition(c, q)
		if err != nil {
			return "", err
		}
		text += " and " + p
	}
	return text, nil
}

// countable returns what the counters can be asked in place of a condition: the same, or one that fewer rows meet.
func countable(q flint.Query) (counted flint.Query, same, ok bool) {
	switch q.Attribute {
	case "status", "trigger", "requestMethod", "responseStatusCode":
		return q, true, true
	case "requestPath":
		usual := slices.Equal(q.Values, []any{"/"})
		return q, true, usual && (q.Method == "equal" || q.Method == "notEqual")
	case "duration":
		return countableDuration(q)
	}
	if q.Method != "and" && q.Method != "or" {
		return q, false, false
	}
	counted, same = flint.Query{Method: q.Method, Values: make([]any, len(q.Values))}, true
	for i, v := range q.Values {
		child, _ := v.(flint.Query)
		part, whole, ok := countable(child)
		if !ok {
			return q, false, false
		}
		counted.Values[i], same = part, same && whole
	}
	return counted, same, true
}

// countableDuration returns what the counters can be asked in place of a condition on the duration: they know which are of a second
// and more.
func countableDuration(q flint.Query) (counted flint.Query, same, ok bool) {
	if len(q.Values) != 1 {
		return q, false, false
	}
	v, ok := column{kind: flint.AttributeFloat}.value(q.Values[0])
	f, number := v.(float64)
	if !ok || !number {
		return q, false, false
	}
	switch q.Method {
	case "lessThan", "lessThanEqual":
		return flint.Query{Method: "lessThan", Attribute: q.Attribute, Values: []any{1.0}}, q.Method == "lessThan" && f == 1, f >= 1
	case "greaterThan", "greaterThanEqual":
		return flint.Query{Method: "greaterThanEqual", Attribute: q.Attribute, Values: []any{1.0}}, q.Method == "greaterThanEqual" && f == 1, f <= 1 && (f < 1 || q.Method == "greaterThanEqual")
	}
	return q, false, false
}

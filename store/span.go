package store

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"
	"time"

	"flint"
)

// A deployment's executions lie together in time. Their span makes a condition on the deployment one on the time, for a
// row in an hour where an index would cost every execution something.

const (
	spanStep  = int64(time.Hour / time.Millisecond) // spans begin and end at whole hours
	spanCache = 16384                               // spans that the writer knows of

	firstTime = math.MinInt64
	lastTime  = math.MaxInt64
)

type spanKey struct{ project, function, deployment string }

func spanOf(e *flint.Execution) spanKey {
	return spanKey{string(e.Project), string(e.Function), string(e.Deployment)}
}

// span is a range of times of creation, both ends included.
type span struct{ first, last int64 }

func allTimes() span { return span{firstTime, lastTime} }

// rangeOf returns the range of whole numbers that meet a condition, if it is one.
func rangeOf(method string, values []any) (span, bool) {
	at := func(i int) int64 { n, _ := values[i].(int64); return n }
	switch {
	case method == "equal" && len(values) == 1:
		return span{at(0), at(0)}, true
	case method == "between":
		return span{at(0), at(1)}, true
	case method == "lessThanEqual":
		return span{firstTime, at(0)}, true
	case method == "greaterThanEqual":
		return span{at(0), lastTime}, true
	case method == "lessThan" && at(0) > firstTime:
		return span{firstTime, at(0) - 1}, true
	case method == "greaterThan" && at(0) < lastTime:
		return span{at(0) + 1, lastTime}, true
	}
	return span{}, false
}

func (s span) holds(at int64) bool { return s.first <= at && at <= s.last }

// cover makes the span of a deployment hold a time. The writer knows the spans that are long enough: mostly there is
// nothing to do. It comes before the execution, so that none is ever without its span.
func (t *tx) cover(ctx context.Context, k spanKey, at int64) error {
	known, ok := t.spans[k]
	if ok && known.holds(at) {
		return nil
	}
	s := span{at - at%spanStep, at - at%spanStep + spanStep - 1}
	err := t.exec(ctx, `insert into execution_spans (owner, deployment, first_at, last_at)
		values ((select uid from functions where project = $1 and id = $2), $3, $4, $5) on conflict (owner, deployment) do update set
		first_at = case when excluded.first_at < execution_spans.first_at then excluded.first_at else execution_spans.first_at end,
		last_at = case when excluded.last_at > execution_spans.last_at then excluded.last_at else execution_spans.last_at end`,
		k.project, k.function, k.deployment, s.first, s.last)
	if err != nil {
		return err
	}
	if ok {
		s = span{min(s.first, known.first), max(s.last, known.last)}
	}
	if len(t.spans) >= spanCache {
		clear(t.spans)
	}
	t.spans[k] = s
	return nil
}

// withinSpans adds to conditions that name deployments the time in which these have executions.
func (s *Store) withinSpans(ctx context.Context, scope []any, filters []flint.Query) ([]flint.Query, error) {
	for _, q := range filters {
		if q.Attribute != "deploymentId" || q.Method != "equal" {
			continue
		}
		c := &compiler{args: slices.Clone(scope)}
		names := make([]string, len(q.Values))
		for i, v := range q.Values {
			names[i] = c.bind(v)
		}
		var first, last sql.NullInt64
		query := "select min(t.first_at), max(t.last_at) from execution_spans t where " + ownerScope + " and t.deployment in (" + strings.Join(names, ", ") + ")"
		if err := s.one(ctx, query, c.args, func(r scanner) error { return r.Scan(&first, &last) }); err != nil {
			return nil, err
		}
		if !first.Valid {
			first.Int64, last.Int64 = 1, 0 // no time at all
		}
		filters = append(filters, flint.Query{
			Method: "between", Attribute: "$createdAt", Values: []any{time.UnixMilli(first.Int64), time.UnixMilli(last.Int64)},
		})
	}
	return filters, nil
}

package store

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"flint"
)

const (
	fewRows   = 2000 // so many rows are sorted sooner than the right ones are found among all in order
	fewValues = 32   // so many values of a column are read one after the other
)

// part is an index of the rows whose value in one column is not what most rows have. It begins with the scope of lists
// and that column, and then has the order of creation.
type part struct {
	index     string
	attribute string
	only      string                                 // its condition as the schema has it: databases compare the text
	outside   func(method string, values []any) bool // whether a row that it does not hold may meet a condition
	covers    []string                               // further attributes that it has
	few       bool                                   // the column has few values
}

// except is the outside of an index that holds all rows but those of some values.
func except(usual ...any) func(string, []any) bool {
	return func(method string, values []any) bool {
		return slices.ContainsFunc(usual, func(v any) bool { return meets(v, method, values) })
	}
}

// fromOne is the outside of an index of the values from 1 on.
func fromOne(method string, values []any) bool {
	switch method {
	case "equal", "greaterThan", "greaterThanEqual", "between":
		return slices.ContainsFunc(values, func(v any) bool { f, ok := v.(float64); return !ok || f < 1 })
	}
	return true
}

// way is how the rows of a list are reached. The zero way goes through all rows of the scope in the order asked for.
type way struct {
	part   *part
	filter int      // the condition that part serves; -1: none
	values []any    // read part value by value: each is in order; nil: not possible
	value  any      // of these, the one that a statement is about
	found  bool     // through the index for searches
	rows   []int64  // what that says; nil: not read
	texts  bool     // through the texts that are searched
	likely bool     // most of what is gone past is in the list
	split  bool     // those that changed late apart from the others
	prompt bool     // without those that changed late
	ranked bool     // in the order of durations
	paths  bool     // through the paths that meet the condition of the filter
	known  []string // these; nil: not read yet
	more   bool     // there are more than that
	number int      // of the executions that have these
	match  string   // what the index of paths is asked for
}

// plan is how a list is read.
type plan struct {
	page, count way
	total       int // of a list that has been counted on the way; otherwise -1
}

// choose decides how a list is read.
//
// A condition on values that few rows have is served by the index of such rows. Where the index also gives the order it
// is always the best way. Otherwise the count decides: few rows are collected and sorted, many rows are met soon enough
// on the way through all.
func (r *lister[T]) choose(ctx context.Context) (plan, error) {
	if r.list.Search != "" {
		return r.chooseSearch(ctx)
	}
	through := plan{total: -1}
	ways, err := r.ways(ctx)
	if err != nil || len(ways) == 0 {
		if err == nil && len(r.list.Filters) == 0 {
			through.page.ranked, err = r.byRank(ctx)
		}
		through.count.split = r.late != nil && !r.recent
		through.page.split = r.late != nil && !r.random
		return through, err
	}
	only := len(ways) == 1 && len(r.list.Filters) == 1
	if only && ways[0].paths {
		return r.choosePaths(ctx, ways[0])
	}
	if only && (r.list.NoTotal || r.known >= 0) {
		w := ways[0]
		if w.values, err = r.values(ctx, w); err != nil || w.values != nil {
			return plan{page: w, total: -1}, err
		}
	}
	most := fewRows
	switch {
	case only: // the number is the total as well
		most = flint.MaxListTotal
	case r.inOrder(ways): // the number is only about which of them it is
		most = fewRows / 4
	}
	w, n, err := r.rarest(ctx, ways, most)
	if err == nil {
		w.values, err = r.values(ctx, w)
	}
	if err != nil {
		return through, err
	}
	p := plan{page: w, count: w, total: -1}
	if only {
		p.total = n
	}
	switch {
	case n < most && n < fewRows:
	case !r.covered(w):
		return through, nil
	case w.values == nil:
		p.page = way{}
	}
	return p, nil
}

// inOrder reports whether all ways can be read value by value, whatever the values are.
func (r *lister[T]) inOrder(ways []way) bool {
	return r.created() && !slices.ContainsFunc(ways, func(w way) bool { return !w.part.few || !r.covered(w) })
}

// rarest returns the way past the fewest rows, and their number, up to most.
func (r *lister[T]) rarest(ctx context.Context, ways []way, most int) (best way, fewest int, err error) {
	fewest = most + 1
	for _, w := range ways {
		n, err := r.reach(ctx, w, min(fewest, most))
		if err != nil {
			return best, 0, err
		}
		if n < fewest {
			best, fewest = w, n
		}
	}
	return best, fewest, nil
}

// covered reports whether the index of a way has all that the conditions look at.
func (r *lister[T]) covered(w way) bool {
	for i, q := range r.list.Filters {
		if i != w.filter && !slices.Contains(w.part.covers, q.Attribute) {
			return false
		}
	}
	return true
}

// ways returns the indexes that hold every row that meets one of the conditions.
func (r *lister[T]) ways(ctx context.Context) (ways []way, err error) {
	for i := range r.noun.parts {
		p := &r.noun.parts[i]
		for j, q := range r.list.Filters {
			if q.Attribute == "$id" && q.Method == "equal" {
				return nil, nil // nothing is better than that
			}
			if q.Attribute != p.attribute {
				continue
			}
			_, values, err := r.noun.operands(q)
			if err != nil {
				return nil, err
			}
			if p.outside(q.Method, values) {
				continue
			}
			w := way{part: p, filter: j}
			if r.noun.behind && p.attribute == "requestPath" && q.Method != "equal" {
				if err := r.throughPaths(ctx, &w); err != nil {
					return nil, err
				}
			}
			ways = append(ways, w)
		}
	}
	return ways, nil
}

// values returns the values that rows have that meet a way's condition, if that is all it takes to read them in order.
func (r *lister[T]) values(ctx context.Context, w way) ([]any, error) {
	q := r.list.Filters[w.filter]
	if !r.created() {
		return nil, nil
	}
	col, operands, err := r.noun.operands(q)
	if err != nil {
		return nil, err
	}
	if q.Method == "equal" {
		slices.SortFunc(operands, compareValues)
		if operands = slices.CompactFunc(operands, func(a, b any) bool { return a == b }); len(operands) > fewValues {
			return nil, nil
		}
		return operands, nil
	}
	if !w.part.few {
		return nil, nil
	}
	values := []any{}
	all, err := r.distinct(ctx, w, col.expr)
	for _, v := range all {
		if meets(v, q.Method, operands) {
			values = append(values, v)
		}
	}
	if err != nil || len(all) > fewValues {
		return nil, err
	}
	return values, nil
}

// created reports whether a list is in the order of creation.
func (r *lister[T]) created() bool {
	return !r.random && len(r.keys) == 2 && r.keys[0].expr == "t.created_at"
}

// distinct reads the values that a part holds, at most one more than are of use, with one step in the index for each.
func (r *lister[T]) distinct(ctx context.Context, w way, expr string) ([]any, error) {
	c := &compiler{args: slices.Clone(r.scope)}
	from, err := r.from(c, w)
	if err != nil {
		return nil, err
	}
	next := "select " + expr + " from " + from + " where " + r.noun.scope + " and " + w.part.only
	order := " order by " + expr + " limit 1"
	query := "with recursive v(x) as (select (" + next + order + ") union all select (" + next + " and " + expr + " > v.x" + order +
		") from v where v.x is not null) select x from v where x is not null limit " + c.bind(int64(fewValues+1))
	var values []any
	err = r.each(ctx, query, c.args, func(s scanner) error {
		var v any
		err := s.Scan(&v)
		values = append(values, v)
		return err
	})
	return values, err
}

// meets reports whether a row with a value in a column meets a condition on it. It says yes when in doubt.
func meets(value any, method string, operands []any) bool {
	order := func(i int) int { return compareValues(value, operands[i]) }
	switch method {
	case "equal":
		return slices.Contains(operands, value)
	case "notEqual":
		return order(0) != 0
	case "lessThan":
		return order(0) < 0
	case "lessThanEqual":
		return order(0) <= 0
	case "greaterThan":
		return order(0) > 0
	case "greaterThanEqual":
		return order(0) >= 0
	case "between":
		return order(0) >= 0 && order(1) <= 0
	case "notBetween":
		return order(0) < 0 || order(1) > 0
	case "contains", "containsAny", "startsWith", "endsWith", "regex":
		return slices.ContainsFunc(operands, func(o any) bool { return meetsText(value, method, o) })
	case "containsAll":
		return !slices.ContainsFunc(operands, func(o any) bool { return !meetsText(value, "contains", o) })
	}
	return method != "isNull"
}

func meetsText(value any, method string, operand any) bool {
	text, _ := value.(string)
	s, _ := operand.(string)
	switch method {
	case "startsWith":
		return strings.HasPrefix(lower(text), lower(s))
	case "endsWith":
		return strings.HasSuffix(lower(text), lower(s))
	case "regex":
		re, err := regexp.Compile(s)
		return err != nil || re.MatchString(text)
	}
	return strings.Contains(lower(text), lower(s))
}

// lower is what SQL's lower() is: it knows ASCII only.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + ('a' - 'A')
		}
		return c
	}, s)
}

// compareValues orders two values of one column.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case string:
		y, _ := b.(string)
		return cmp.Compare(x, y)
	case int64:
		y, _ := b.(int64)
		return cmp.Compare(x, y)
	case float64:
		y, _ := b.(float64)
		return cmp.Compare(x, y)
	}
	return 0
}

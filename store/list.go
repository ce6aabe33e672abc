package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"flint"
)

// noun is what lists need to know about a table. Its rows are called t in every expression.
type noun[T any] struct {
	name    string // in messages
	from    string
	columns string
	scope   string // condition that all lists have, on the first arguments
	column  func(attribute string) (column, bool)
	search  []string // what Search looks into; none: it cannot be searched
	scan    func(scanner) (T, error)

	row   string // what a row is found by at once; needed with any of the following
	parts []part
	found *searchIndex // nil: a search looks at every row

	behind bool  // it has the indexes behind the calls
	late   *part // of rows that changed long after they were created; nil: not known

	narrow func(ctx context.Context, scope []any, filters []flint.Query) ([]flint.Query, error) // adds what follows from conditions; may be nil
}

func (n noun[T]) attribute(name string) (column, error) {
	switch name {
	case "$id":
		return column{expr: "t.id", kind: flint.AttributeString}, nil
	case "$createdAt":
		return column{expr: "t.created_at", kind: flint.AttributeDatetime}, nil
	case "$updatedAt":
		return column{expr: "t.updated_at", kind: flint.AttributeDatetime}, nil
	case "$sequence": // never shown to anyone: the order of creation is all it means
		return column{expr: "t.created_at", kind: flint.AttributeInteger}, nil
	}
	if c, ok := n.column(name); ok {
		return c, nil
	}
	return column{}, flint.ErrInvalidQuery.Saying("Attribute not found in schema: %s", name)
}

// lister reads one list.
type lister[T any] struct {
	store  *Store
	noun   noun[T]
	scope  []any
	list   flint.List
	keys   []key // what it is sorted by
	random bool
	times  span                           // in which rows were created
	start  []any                          // the keys of the row that a cursor names
	late   *span                          // in which rows were created that changed soon after, if others have to be looked for too
	recent bool                           // late is about the page alone
	words  string                         // what the index for searches is asked for
	known  int                            // the total, if the counters say it; otherwise negative
	trace  func(query string, args []any) // nil: nobody wants to know
}

// list reads the rows that l asks for, and counts them.
func list[T any](ctx context.Context, s *Store, n noun[T], scope []any, l flint.List) ([]T, int, error) {
	return (&lister[T]{store: s, noun: n, scope: scope, list: l}).read(ctx)
}

func (r *lister[T]) read(ctx context.Context) ([]T, int, error) {
	r.list.Filters = conjuncts(r.list.Filters)
	if err := r.check(ctx); err != nil {
		return nil, 0, err
	}
	var err error
	rows := []T{}
	if r.known, err = r.tally(ctx); err != nil {
		return nil, 0, err
	}
	if r.known == 0 {
		return rows, 0, nil
	}
	if r.noun.narrow != nil {
		if r.list.Filters, err = r.noun.narrow(ctx, r.scope, r.list.Filters); err != nil {
			return nil, 0, err
		}
	}
	if err := r.bound(); err != nil {
		return nil, 0, err
	}
	if err := r.changed(ctx); err != nil {
		return nil, 0, err
	}
	p, err := r.choose(ctx)
	if err != nil {
		return nil, 0, err
	}
	total := max(p.total, r.known, 0)
	switch {
	case r.list.NoTotal:
		total = 0
	case max(p.total, r.known) < 0:
		if total, err = r.count(ctx, p.count); err != nil {
			return nil, 0, err
		}
	}
	query, args, err := r.page(p.page)
	if err != nil || query == "" {
		return rows, total, err
	}
	err = r.each(ctx, query, args, func(s scanner) error {
		row, err := r.noun.scan(s)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if r.list.CursorBefore {
		slices.Reverse(rows)
	}
	return rows, total, nil
}

// check refuses what the list may not ask for, and finds the place where it starts.
func (r *lister[T]) check(ctx context.Context) error {
	if _, err := r.where(&compiler{}, way{}, allTimes(), nil); err != nil {
		return err
	}
	var err error
	if r.keys, r.random, err = r.noun.order(r.list); err != nil || r.list.Cursor == "" {
		return err
	}
	if r.random {
		return flint.ErrInvalidQuery.Saying("A random order has no place to continue from.")
	}
	r.start, err = r.noun.position(ctx, r.store, r.scope, r.keys, r.list.Cursor)
	return err
}

// conjuncts returns conditions that hold at once without those that only say so.
func conjuncts(filters []flint.Query) (flat []flint.Query) {
	for _, q := range filters {
		children := make([]flint.Query, 0, len(q.Values))
		for _, v := range q.Values {
			if child, ok := v.(flint.Query); ok {
				children = append(children, child)
			}
		}
		if q.Method == "and" && len(children) == len(q.Values) && len(children) > 0 {
			flat = append(flat, conjuncts(children)...)
		} else {
			flat = append(flat, q)
		}
	}
	return flat
}

// bound turns the conditions that are ends of the time of creation into one range.
func (r *lister[T]) bound() error {
	r.times = allTimes()
	rest := make([]flint.Query, 0, len(r.list.Filters))
	for _, q := range r.list.Filters {
		col, values, err := r.noun.operands(q)
		if q.Method == "and" || q.Method == "or" || col.expr != "t.created_at" {
			rest = append(rest, q)
			continue
		}
		if err != nil {
			return err
		}
		s, ok := rangeOf(q.Method, values)
		if !ok {
			rest = append(rest, q)
			continue
		}
		r.times = span{max(r.times.first, s.first), min(r.times.last, s.last)}
	}
	r.list.Filters = rest
	return nil
}

func (r *lister[T]) each(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	if r.trace != nil {
		r.trace(query, args)
	}
	return r.store.each(ctx, query, args, scan)
}

// count counts the rows of a list, up to where totals stop.
func (r *lister[T]) count(ctx context.Context, w way) (n int, err error) {
	if w.split {
		for _, arm := range r.arms(w) {
			more, err := r.count(ctx, arm)
			if n = min(n+more, flint.MaxListTotal); err != nil {
				return 0, err
			}
		}
		return n, nil
	}
	c := r.compiler()
	where, err := r.where(c, w, r.timesOf(w), nil)
	if err != nil {
		return 0, err
	}
	from, err := r.from(c, w)
	if err != nil {
		return 0, err
	}
	rows := from + " where " + where
	if w.likely || w.part == nil && !w.found && r.list.Search == "" && !w.prompt && !slices.ContainsFunc(r.list.Filters, func(q flint.Query) bool { return q.Method != "equal" }) {
		return r.limited(ctx, c, rows, flint.MaxListTotal)
	}
	if w.part != nil && w.part.few && w.filter >= 0 && len(r.list.Filters) > 1 {
		short, err := r.short(ctx, w)
		if err != nil {
			return 0, err
		}
		if short {
			n, err = r.counted(ctx, c, rows)
			return min(n, flint.MaxListTotal), err
		}
	}
	return r.sought(ctx, c, rows, flint.MaxListTotal)
}

// short reports whether a way goes past so few rows that they are best counted to the end: to be able to stop costs
// nearly as much as to count.
func (r *lister[T]) short(ctx context.Context, w way) (bool, error) {
	c, rows, err := r.past(w)
	if err != nil {
		return false, err
	}
	found, err := r.beyond(ctx, c, rows, 2*flint.MaxListTotal)
	return !found, err
}

// reach counts the rows that a way goes past, up to a number.
func (r *lister[T]) reach(ctx context.Context, w way, most int) (int, error) {
	c, rows, err := r.past(w)
	if err != nil {
		return 0, err
	}
	return r.limited(ctx, c, rows, most)
}

// past compiles the rows that a way goes past.
func (r *lister[T]) past(w way) (c *compiler, rows string, err error) {
	c = r.compiler()
	where, err := r.where(c, w, r.times, func(i int) bool { return i == w.filter })
	if err != nil {
		return nil, "", err
	}
	from, err := r.from(c, w)
	return c, from + " where " + where, err
}

// limited counts rows of which there are likely to be more than a number, up to that number. Whether there are is asked
// first: to pass over rows costs half of what it costs to count them without going past the number.
func (r *lister[T]) limited(ctx context.Context, c *compiler, rows string, most int) (n int, err error) {
	if found, err := r.beyond(ctx, c, rows, most); err != nil || found {
		return most, err
	}
	return r.counted(ctx, c, rows)
}

// beyond reports whether there are at least so many rows.
func (r *lister[T]) beyond(ctx context.Context, c *compiler, rows string, most int) (found bool, err error) {
	probe := &compiler{args: slices.Clone(c.args)}
	query := "select 1 from " + rows + " limit 1 offset " + probe.bind(int64(most-1))
	err = r.each(ctx, query, probe.args, func(scanner) error { found = true; return nil })
	return found, err
}

// counted counts rows, all of them.
func (r *lister[T]) counted(ctx context.Context, c *compiler, rows string) (n int, err error) {
	err = r.each(ctx, "select count(*) from "+rows, c.args, func(s scanner) error { return s.Scan(&n) })
	return n, err
}

// sought counts other rows, up to a number.
func (r *lister[T]) sought(ctx context.Context, c *compiler, rows string, most int) (n int, err error) {
	query := "select count(*) from (select 1 from " + rows + " limit " + c.bind(int64(most)) + ") counted"
	err = r.each(ctx, query, c.args, func(s scanner) error { return s.Scan(&n) })
	return n, err
}

func (r *lister[T]) compiler() *compiler { return &compiler{args: slices.Clone(r.scope)} }

func (r *lister[T]) from(c *compiler, w way) (string, error) {
	switch {
	case w.known != nil:
		return pathsKnown(c, w.known) + " m cross join " + using(r.noun.from, w.part.index), nil
	case w.paths:
		paths, err := r.pathsMeeting(c, w)
		return paths + " m cross join " + using(r.noun.from, w.part.index), err
	case w.part != nil:
		return using(r.noun.from, w.part.index), nil
	case w.rows != nil:
		return rowsKnown(c, w.rows) + " s cross join " + r.noun.found.table, nil
	case w.found:
		return r.noun.found.from, nil
	case w.texts:
		return using(r.noun.from, r.noun.found.texts), nil
	}
	return r.noun.from, nil
}

// page compiles the statement for the rows. It is empty when there can be none.
//
// Where rows come out of order the keys are sorted first, and the rest of a row is read only for those that are shown.
func (r *lister[T]) page(w way) (query string, args []any, err error) {
	c := r.compiler()
	rest := func() string {
		return " limit " + c.bind(int64(limit(r.list))) + " offset " + c.bind(int64(max(r.list.Offset, 0)))
	}
	order := " order by " + orderText(r.keys, r.random)
	var keys string
	row := r.noun.row
	switch {
	case w.ranked:
		keys, row = rankedKeys(c, r.noun.scope, r.keys[0].down, r.start)+rest(), rankedRow
	case w.part == nil && !w.found && !w.split:
		where, err := r.rows(c, w)
		return "select " + r.noun.columns + " from " + where + order + rest(), c.args, err
	case w.values == nil && !w.split:
		where, err := r.rows(c, w)
		if err != nil {
			return "", nil, err
		}
		keys = "select " + r.noun.row + " as k from " + where + order + rest()
	case len(w.values) == 0 && !w.split:
		return "", nil, nil
	default:
		if keys, err = r.merged(c, w); err != nil {
			return "", nil, err
		}
		keys += rest()
	}
	return "select " + r.noun.columns + " from (" + keys + ") p cross join " + r.noun.from + " where " + row + " = p.k" + order, c.args, nil
}

// rows compiles the rows of a page, without their order.
func (r *lister[T]) rows(c *compiler, w way) (string, error) {
	after, times := r.start, r.timesOf(w)
	if after != nil && r.keys[0].expr == "t.created_at" {
		// Of two ends on the side where the page starts a database may seek to the wrong one: it gets one.
		at, _ := after[0].(int64)
		switch down := r.keys[0].down; {
		case down && at > times.last, !down && at < times.first:
			after = nil
		case down:
			times.last = lastTime
		default:
			times.first = firstTime
		}
	}
	where, err := r.where(c, w, times, nil)
	if err == nil && after != nil {
		where += " and " + c.after(r.keys, after)
	}
	if err != nil {
		return "", err
	}
	from, err := r.from(c, w)
	return from + " where " + where, err
}

// arms returns the ways that a way is made of: for each value one, or those that changed late and the others.
func (r *lister[T]) arms(w way) []way {
	if w.split {
		return []way{{prompt: true}, {part: r.noun.late, filter: -1}}
	}
	arms := make([]way, len(w.values))
	for i, v := range w.values {
		arms[i] = w
		arms[i].value = v
	}
	return arms
}

// merged compiles the keys of rows that are read in several ways: as many of each as may be needed, in order.
func (r *lister[T]) merged(c *compiler, w way) (string, error) {
	most := r.need()
	columns := []string{r.noun.row + " as k"}
	keys := make([]key, len(r.keys))
	for i, k := range r.keys {
		name := "k" + strconv.Itoa(i)
		columns = append(columns, k.expr+" as "+name)
		keys[i] = key{"p." + name, k.down}
	}
	var arms []string
	for i, arm := range r.arms(w) {
		rows, err := r.rows(c, arm)
		if err != nil {
			return "", err
		}
		arms = append(arms, "select * from (select "+strings.Join(columns, ", ")+" from "+rows+" order by "+orderText(r.keys, false)+" limit "+c.bind(most)+") a"+strconv.Itoa(i))
	}
	return "select p.k from (" + strings.Join(arms, " union all ") + ") p order by " + orderText(keys, false), nil
}

func limit(l flint.List) int {
	if l.Limit <= 0 {
		return flint.DefaultListLimit
	}
	return l.Limit
}

// where compiles the conditions of a list, without its cursor: those that keep wants, or all.
func (r *lister[T]) where(c *compiler, w way, times span, keep func(int) bool) (string, error) {
	parts := []string{r.noun.scope}
	if times.first != firstTime {
		parts = append(parts, "t.created_at >= "+c.bind(times.first))
	}
	if times.last != lastTime {
		parts = append(parts, "t.created_at <= "+c.bind(times.last))
	}
	for i, q := range r.list.Filters {
		if keep != nil && !keep(i) || w.paths && i == w.filter {
			continue
		}
		if w.value != nil && i == w.filter {
			q = flint.Query{Method: "equal", Attribute: q.Attribute, Values: []any{w.value}}
		}
		p, err := r.noun.condition(c, q)
		if err != nil {
			return "", err
		}
		parts = append(parts, p)
	}
	if w.part != nil {
		parts = append(parts, w.part.only)
	}
	if w.paths {
		parts = append(parts, "t.path = m.path")
	}
	if w.prompt {
		parts = append(parts, "not ("+r.noun.late.only+")")
	}
	switch {
	case r.list.Search == "":
	case len(r.noun.search) == 0:
		return "", flint.ErrInvalidQuery.Saying(`Searching by attribute "search" requires a fulltext index.`)
	case w.rows != nil:
		parts = append(parts, r.noun.found.join)
	case w.found:
		parts = append(parts, r.noun.found.join, r.noun.found.match(c, r.words))
	case w.texts:
		part := c.bind(lower(r.list.Search))
		var any []string
		for _, expr := range r.noun.search {
			any = append(any, holds("lower("+expr+")", part))
		}
		parts = append(parts, "("+strings.Join(any, " or ")+")")
	default:
		pattern := c.bind("%" + escapeLike(r.list.Search) + "%")
		var any []string
		for _, expr := range r.noun.search {
			any = append(any, like(expr, pattern))
		}
		parts = append(parts, "("+strings.Join(any, " or ")+")")
	}
	return strings.Join(parts, " and "), nil
}

// key is one column that a list is sorted by.
type key struct {
	expr string
	down bool
}

// order returns the sort keys of a list, the order of creation last, in the direction in which rows are to be read: for
// a cursor that ends the list, backwards.
func (n noun[T]) order(l flint.List) (keys []key, random bool, err error) {
	down := false
	for _, o := range l.Orders {
		if o.Random {
			random = true
			continue
		}
		col, err := n.attribute(o.Attribute)
		if err != nil {
			return nil, false, err
		}
		down = o.Descending
		if !slices.ContainsFunc(keys, func(k key) bool { return k.expr == col.expr }) {
			keys = append(keys, key{col.expr, down})
		}
	}
	for _, expr := range []string{"t.created_at", "t.id"} { // the same direction: newest first means so within a millisecond too
		if !slices.ContainsFunc(keys, func(k key) bool { return k.expr == expr }) {
			keys = append(keys, key{expr, down})
		}
	}
	if i := slices.IndexFunc(keys, func(k key) bool { return k.expr == "t.id" }); i >= 0 {
		keys = keys[:i+1] // nothing is left to sort after an id
	}
	if l.CursorBefore && l.Cursor != "" {
		for i := range keys {
			keys[i].down = !keys[i].down
		}
	}
	return keys, random, nil
}

func orderText(keys []key, random bool) string {
	if random {
		return "random()"
	}
	parts := make([]string, len(keys))
	for i, k := range keys {
		if parts[i] = k.expr; k.down {
			parts[i] += " desc"
		}
	}
	return strings.Join(parts, ", ")
}

// position reads the sort keys of the row that a cursor names.
func (n noun[T]) position(ctx context.Context, s *Store, scope []any, keys []key, id string) ([]any, error) {
	values := make([]any, len(keys))
	dest := make([]any, len(keys))
	exprs := make([]string, len(keys))
	for i, k := range keys {
		exprs[i], dest[i] = k.expr, &values[i]
	}
	c := &compiler{args: slices.Clone(scope)}
	query := "select " + strings.Join(exprs, ", ") + " from " + n.from + " where " + n.scope + " and t.id = " + c.bind(id)
	err := s.one(ctx, query, c.args, func(r scanner) error { return r.Scan(dest...) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrCursorNotFound.Saying("%s '%s' for the 'cursor' value not found.", n.name, id)
	}
	return values, err
}

// after compiles the condition that a row comes after a position.
func (c *compiler) after(keys []key, values []any) string {
	names := make([]string, len(keys))
	exprs := make([]string, len(keys))
	mixed := false
	for i, k := range keys {
		names[i], exprs[i] = c.bind(values[i]), k.expr
		mixed = mixed || k.down != keys[0].down
	}
	if !mixed {
		return "(" + strings.Join(exprs, ", ") + ")" + comparison(keys[0]) + "(" + strings.Join(names, ", ") + ")"
	}
	var ways []string
	for i, k := range keys {
		var way []string
		for j := range i {
			way = append(way, exprs[j]+" = "+names[j])
		}
		ways = append(ways, strings.Join(append(way, k.expr+comparison(k)+names[i]), " and "))
	}
	return "(" + strings.Join(ways, " or ") + ")"
}

func comparison(k key) string {
	if k.down {
		return " < "
	}
	return " > "
}

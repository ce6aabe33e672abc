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

// list reads the rows that l asks for, and counts them.
func list[T any](ctx context.Context, s *Store, n noun[T], scope []any, l flint.List) ([]T, int, error) {
	c := &compiler{args: slices.Clone(scope)}
	where, err := n.where(c, l)
	if err != nil {
		return nil, 0, err
	}
	total := 0
	if !l.NoTotal {
		count := "select count(*) from (select 1 from " + n.from + " where " + where + " limit " + strconv.Itoa(flint.MaxListTotal) + ") counted"
		if err := s.one(ctx, count, c.args, func(r scanner) error { return r.Scan(&total) }); err != nil {
			return nil, 0, err
		}
	}
	keys, random, err := n.order(l)
	if err != nil {
		return nil, 0, err
	}
	if l.Cursor != "" {
		if random {
			return nil, 0, flint.ErrInvalidQuery.Saying("A random order has no place to continue from.")
		}
		values, err := n.position(ctx, s, scope, keys, l.Cursor)
		if err != nil {
			return nil, 0, err
		}
		where += " and " + c.after(keys, values)
	}
	query := "select " + n.columns + " from " + n.from + " where " + where + " order by " + orderText(keys, random) +
		" limit " + c.bind(int64(limit(l))) + " offset " + c.bind(int64(max(l.Offset, 0)))
	rows := []T{}
	err = s.each(ctx, query, c.args, func(r scanner) error {
		row, err := n.scan(r)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if l.CursorBefore {
		slices.Reverse(rows)
	}
	return rows, total, nil
}

func limit(l flint.List) int {
	if l.Limit <= 0 {
		return flint.DefaultListLimit
	}
	return l.Limit
}

// where compiles the conditions of a list, without its cursor.
func (n noun[T]) where(c *compiler, l flint.List) (string, error) {
	parts := []string{n.scope}
	for _, q := range l.Filters {
		p, err := n.condition(c, q)
		if err != nil {
			return "", err
		}
		parts = append(parts, p)
	}
	if l.Search != "" {
		if len(n.search) == 0 {
			return "", flint.ErrInvalidQuery.Saying(`Searching by attribute "search" requires a fulltext index.`)
		}
		pattern := c.bind("%" + escapeLike(l.Search) + "%")
		var any []string
		for _, expr := range n.search {
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

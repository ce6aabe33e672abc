package store

import (
	"context"
	"fmt"
	"strings"

	"flint"
)

// Columns of a new execution.
const (
	insertColumns = "insert into executions (owner, " + commonNames + ", " + ownNames + ") "
	commonNames   = "deployment, trigger, status, method, path, status_code, scheduled_at, permissions, errors"
	ownNames      = "id, created_at, updated_at, duration, headers, logs, receipt"

	commonCount = 9
	ownCount    = 7
)

// arguments appends the values of commonNames.
func (c *commonColumns) arguments(args []any) []any {
	return append(args, c.deployment, c.trigger, c.status, c.method, c.path, c.code, c.scheduled, c.permissions, c.errors)
}

// arguments appends the values of ownNames.
func (r *executionRecord) arguments(args []any) []any {
	return append(args, r.id, r.created, r.updated, r.duration, r.headers, r.logs, r.receipt)
}

// An execution that began before the last namesake of its function was deleted belongs to that one, and is refused like
// one of no function.
var insertExecution = insertColumns + "values ((select uid from functions where project = $1 and id = $2 and born_at <= $3), " + //nolint:gochecknoglobals // read only
	placeholderList(3, commonCount+ownCount) + ")"

// How many rows one statement takes. One for each row costs twice as much. Most of a row's cost are its parameters, so that rows which
// agree in what rows mostly agree in have these only once: that halves them.
const (
	alikeRows  = 32
	insertRows = 8 // with more of them that differ a row becomes dearer again
)

// insertAlike has the owner and the common columns, then the others of each row; insertExecutions has all columns of each row.
var (
	insertAlike      = insertColumns + rowsInCommon(1+commonCount, alikeRows, ownCount)                   //nolint:gochecknoglobals // read only
	insertExecutions = insertColumns + "values " + placeholderRows(0, insertRows, 1+commonCount+ownCount) //nolint:gochecknoglobals // read only
)

// placeholderRows are rows of placeholders, in parentheses, after a number of others.
func placeholderRows(after, rows, columns int) string {
	list := make([]string, rows)
	for row := range list {
		list[row] = "(" + placeholderList(after+row*columns, columns) + ")"
	}
	return strings.Join(list, ", ")
}

func placeholderList(after, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("$", after+i+1)
	}
	return strings.Join(list, ", ")
}

// addExecution adds one record, or returns ErrFunctionNotFound.
func addExecution(ctx context.Context, t *tx, r *executionRecord) error {
	err := t.cover(ctx, r.span(), r.created)
	if err == nil {
		err = t.exec(ctx, insertExecution, r.arguments(r.common.arguments(append(make([]any, 0, 3+commonCount+ownCount), r.project, r.function, r.created)))...)
	}
	if isMissingOwner(err) {
		return flint.ErrFunctionNotFound
	}
	return err
}

// inserter adds many executions in one transaction.
type inserter struct {
	tx     *tx
	owners map[birthKey]birth
	args   []any
}

type birthKey struct{ project, function string }

// birth is what executions of a function belong to, and since when; uid is 0 where there is none. bornAt is in milliseconds.
type birth struct{ uid, bornAt int64 }

// addExecutions adds records as addExecution adds one. refused hears which cannot be added, and why; an error is about all of them.
func addExecutions(ctx context.Context, t *tx, rows []executionRecord, refused func(*executionRecord, error)) error {
	in := inserter{tx: t, owners: map[birthKey]birth{}}
	for len(rows) > 0 {
		n := in.together(ctx, rows)
		if t.trouble != nil {
			return t.trouble
		}
		if n > 0 {
			rows = rows[n:]
			continue
		}
		n = min(insertRows, len(rows))
		for i := range n { // also where one of them is refused: its neighbours are not
			err := addExecution(ctx, t, &rows[i])
			if t.trouble != nil { // nothing may be written any more: the transaction may have ended
				return t.trouble
			}
			if err != nil {
				refused(&rows[i], err)
			}
		}
		rows = rows[n:]
	}
	return nil
}

// together adds the first of the records by one statement, if there are enough, and returns how many it has added: all that it
// tried or none.
func (in *inserter) together(ctx context.Context, rows []executionRecord) int {
	n, query := insertRows, insertExecutions
	same := len(rows) >= alikeRows && alike(rows[:alikeRows])
	if same {
		n, query = alikeRows, insertAlike
	}
	if len(rows) < n {
		return 0
	}
	in.args = in.args[:0]
	var o birth
	for i := range rows[:n] {
		r := &rows[i]
		if in.tx.cover(ctx, r.span(), r.created) != nil {
			return 0
		}
		if !same || i == 0 {
			var err error
			if o, err = in.owner(ctx, birthKey{r.project, r.function}); err != nil || o.uid == 0 {
				return 0
			}
			in.args = r.common.arguments(append(in.args, o.uid))
		}
		if r.created < o.bornAt {
			return 0
		}
		in.args = r.arguments(in.args)
	}
	if in.tx.exec(ctx, query, in.args...) != nil {
		return 0
	}
	return n
}

// alike reports whether records are of one function and agree in the common columns.
func alike(rows []executionRecord) bool {
	first := &rows[0]
	for i := range rows {
		if r := &rows[i]; r.project != first.project || r.function != first.function || r.common != first.common {
			return false
		}
	}
	return true
}

func (in *inserter) owner(ctx context.Context, k birthKey) (o birth, err error) {
	o, known := in.owners[k]
	if known {
		return o, nil
	}
	_, err = in.tx.one(ctx, "select uid, born_at from functions where project = $1 and id = $2", []any{k.project, k.function},
		func(s scanner) error { return s.Scan(&o.uid, &o.bornAt) })
	if err == nil {
		in.owners[k] = o
	}
	return o, err
}

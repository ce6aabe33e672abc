package store

import (
	"context"
	"fmt"
	"strings"
)

// insertRows is how many rows insertExecutions takes. One statement for each row costs twice as much; with more than these
// a row becomes dearer again.
const insertRows = 8

// insertExecutions inserts executions whose owners are known: for each the owner, then the arguments of insertExecution from its
// id on.
var insertExecutions = insertColumns + placeholderRows(insertRows, ownedColumns) //nolint:gochecknoglobals // read only

const (
	idColumn     = 3 // of an executionRecord
	ownedColumns = 1 + recordColumns - idColumn
)

func placeholderRows(rows, columns int) string {
	list := make([]string, rows)
	for row := range list {
		places := make([]string, columns)
		for column := range places {
			places[column] = fmt.Sprint("$", row*columns+column+1)
		}
		list[row] = "(" + strings.Join(places, ", ") + ")"
	}
	return strings.Join(list, ", ")
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
func addExecutions(ctx context.Context, t *tx, rows []executionRecord, refused func(executionRecord, error)) error {
	in := inserter{tx: t, owners: map[birthKey]birth{}, args: make([]any, 0, insertRows*ownedColumns)}
	for len(rows) > 0 {
		some := rows[:min(insertRows, len(rows))]
		rows = rows[len(some):]
		if len(some) == insertRows && in.together(ctx, some) {
			continue
		}
		if t.trouble != nil {
			return t.trouble
		}
		for _, r := range some { // also where one of them is refused: its neighbours are not
			err := addExecution(ctx, t, r)
			if t.trouble != nil { // nothing may be written any more: the transaction may have ended
				return t.trouble
			}
			if err != nil {
				refused(r, err)
			}
		}
	}
	return nil
}

// together adds insertRows records by one statement, and reports whether it did: all of them or none.
func (in *inserter) together(ctx context.Context, rows []executionRecord) bool {
	in.args = in.args[:0]
	for _, r := range rows {
		span, at := r.span()
		if in.tx.cover(ctx, span, at) != nil {
			return false
		}
		o, err := in.owner(ctx, birthKey{span.project, span.function})
		if err != nil || o.uid == 0 || at < o.bornAt {
			return false
		}
		in.args = append(append(in.args, o.uid), r[idColumn:]...)
	}
	return in.tx.exec(ctx, insertExecutions, in.args...) == nil
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

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"flint"
)

const executionColumns = `t.id, t.created_at, t.updated_at, t.deployment, t.trigger, t.status, t.method, t.path, t.status_code, t.duration,
	t.scheduled_at, t.permissions, t.headers, t.logs, t.errors, t.receipt`

func executionRow(project flint.ProjectID, function flint.FunctionID) func(scanner) (*flint.Execution, error) {
	return func(r scanner) (*flint.Execution, error) {
		e := flint.Execution{Project: project, Function: function}
		var created, updated, scheduled int64
		var permissions, receipt string
		var headers string
		err := r.Scan(&e.ID, &created, &updated, &e.Deployment, &e.Trigger, &e.Status, &e.RequestMethod, &e.RequestPath, &e.StatusCode,
			&e.Duration, &scheduled, &permissions, &headers, &e.Logs, &e.Errors, &receipt)
		if err != nil {
			return nil, err
		}
		if e.RequestHeaders, e.ResponseHeaders, err = decodeHeaders(headers); err != nil {
			return nil, fmt.Errorf("headers of execution %s: %w", e.ID, err)
		}
		e.CreatedAt, e.UpdatedAt, e.ScheduledAt = instant(created), instant(updated), instant(scheduled)
		e.Permissions = unlines(permissions)
		e.Receipt = decodeReceipt(receipt)
		return &e, nil
	}
}

// lines turns a list into text with one item a line, each between two line ends so that an item can be looked for.
func lines(items []string) string {
	if len(items) == 0 {
		return ""
	}
	return "\n" + strings.Join(items, "\n") + "\n"
}

func unlines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.Trim(text, "\n"), "\n")
}

// KeepExecution adds the record of an execution that ended. When it returns nil the record outlives the process, and
// every read that begins later finds it. It does not wait for the database as a rule, and does not say when the function
// has been deleted meanwhile: its executions go with it.
func (s *Store) KeepExecution(ctx context.Context, e *flint.Execution) error {
	r := newRecord(e)
	if s.records.add(&r) {
		return nil
	}
	if err := s.appendExecution(ctx, r); !errors.Is(err, flint.ErrFunctionNotFound) {
		return err
	}
	return nil
}

// AppendExecution adds the record of an execution that ended. When it returns nil the row is in the database. An
// execution of a function that was deleted while it ran is ErrFunctionNotFound.
func (s *Store) AppendExecution(ctx context.Context, e *flint.Execution) error {
	return s.appendExecution(ctx, newRecord(e))
}

func (s *Store) appendExecution(ctx context.Context, r executionRecord) error {
	return s.writer.do(ctx, &job{single: true, run: func(ctx context.Context, t *tx) error { return addExecution(ctx, t, &r) }})
}

// RecordExecution adds the record of an execution that ended, like AppendExecution, and the event of its creation.
func (s *Store) RecordExecution(ctx context.Context, e *flint.Execution) error {
	r := newRecord(e)
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := addExecution(ctx, t, &r); err != nil {
			return err
		}
		return s.executionEvent(ctx, t, e, "create")
	})
}

const readExecution = "select " + executionColumns + " from executions t where " + ownerScope + " and t.id = $3"

// Execution returns an execution of a function or ErrExecutionNotFound.
func (s *Store) Execution(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) (e *flint.Execution, err error) {
	s.records.settle(ctx)
	err = s.one(ctx, readExecution, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
		e, err = executionRow(project, function)(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrExecutionNotFound
	}
	return e, err
}

func executionColumn(attribute string) (column, bool) {
	switch attribute {
	case "trigger":
		return text("t.trigger")
	case "status":
		return text("t.status")
	case "responseStatusCode":
		return integer("t.status_code")
	case "duration":
		return column{expr: "t.duration", kind: flint.AttributeFloat}, true
	case "requestMethod":
		return text("t.method")
	case "requestPath":
		return text("t.path")
	case "deploymentId":
		return text("t.deployment")
	case "$permissions": // for the platform's own conditions; no client may name it
		return column{expr: "t.permissions", kind: flint.AttributeString, list: true}, true
	}
	return column{}, false
}

// Executions returns the executions of a function that l asks for, and how many there are. Besides the attributes that
// clients may name, a condition may say that "$permissions" contains an exact permission.
func (s *Store) Executions(ctx context.Context, project flint.ProjectID, function flint.FunctionID, l flint.List) ([]*flint.Execution, int, error) {
	s.records.settle(ctx)
	return s.executionLister(project, function, l).read(ctx)
}

// executionParts is what the schema has beside the index of all executions, the ones likely to hold least first.
func executionParts() []part {
	all := []string{"status", "trigger", "responseStatusCode", "requestMethod", "duration", "deploymentId"}
	return []part{
		{
			index: "executions_code", attribute: "responseStatusCode", only: "t.status_code <> 200 and t.status_code <> 0",
			outside: except(int64(200), int64(0)), covers: all, few: true,
		},
		{index: "executions_status", attribute: "status", only: "t.status <> 'completed'", outside: except("completed"), covers: all, few: true},
		{index: "executions_duration", attribute: "duration", only: "t.duration >= 1", outside: fromOne, covers: all},
		{index: "executions_trigger", attribute: "trigger", only: "t.trigger <> 'http'", outside: except("http"), covers: all, few: true},
		{index: "executions_path", attribute: "requestPath", only: "t.path <> '/'", outside: except("/")},
		{index: "executions_method", attribute: "requestMethod", only: "t.method <> 'GET'", outside: except("GET"), few: true},
	}
}

func (s *Store) executionLister(project flint.ProjectID, function flint.FunctionID, l flint.List) *lister[*flint.Execution] {
	return &lister[*flint.Execution]{store: s, scope: []any{string(project), string(function)}, list: l, noun: noun[*flint.Execution]{
		name: "Execution", from: "executions t", columns: executionColumns, scope: ownerScope, column: executionColumn,
		scan: executionRow(project, function), row: "t.id", parts: executionParts(), narrow: s.withinSpans, behind: true, late: lateExecutions(),
	}}
}

// DeleteExecution removes an execution, and with it the call if it is only scheduled: ErrExecutionInProgress while it
// waits or runs.
func (s *Store) DeleteExecution(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) error {
	s.records.settle(ctx)
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var e *flint.Execution
		found, err := t.one(ctx, readExecution, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
			e, err = executionRow(project, function)(r)
			return err
		})
		switch {
		case err != nil:
			return err
		case !found:
			return flint.ErrExecutionNotFound
		case e.Status == flint.ExecutionWaiting || e.Status == flint.ExecutionProcessing:
			return flint.ErrExecutionInProgress
		case e.Status == flint.ExecutionScheduled:
			if err := dropCall(ctx, t, id); err != nil {
				return err
			}
		}
		if err := t.exec(ctx, "delete from executions where id = $1", string(id)); err != nil {
			return err
		}
		return s.executionEvent(ctx, t, e, "delete")
	})
}

// PruneExecutions removes up to limit executions that ended and were created before a time, and returns how many it
// removed. It works in small transactions.
func (s *Store) PruneExecutions(ctx context.Context, before time.Time, limit int) (int, error) {
	var owners []int64
	err := s.each(ctx, "select uid from functions", nil, func(r scanner) error {
		var uid int64
		err := r.Scan(&uid)
		owners = append(owners, uid)
		return err
	})
	if err != nil {
		return 0, err
	}
	pruned := 0
	for _, uid := range owners {
		for pruned < limit {
			args := []any{uid, before.UnixMilli(), min(limit-pruned, sweepRows)}
			err := s.one(ctx, "select 1 from executions where owner = $1 and created_at < $2 and status not in ('scheduled', 'waiting', 'processing') limit 1", args[:2], ignore)
			if errors.Is(err, sql.ErrNoRows) {
				break
			}
			n := 0
			if err == nil {
				err = s.write(ctx, func(ctx context.Context, t *tx) (err error) {
					n, err = t.count(ctx, `delete from executions where id in (select id from executions where owner = $1 and created_at < $2
						and status not in ('scheduled', 'waiting', 'processing') order by created_at, id limit $3)`, args...)
					return err
				})
			}
			if err != nil {
				return pruned, err
			}
			if pruned += n; n == 0 {
				break
			}
		}
	}
	return pruned, nil
}

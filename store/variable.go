package store

import (
	"context"
	"database/sql"
	"errors"

	"flint"
)

const variableColumns = "t.project, t.id, t.function, t.created_at, t.updated_at, t.key, t.value, t.secret"

func (s *Store) scanVariable(r scanner) (*flint.Variable, error) {
	var v flint.Variable
	var created, updated int64
	var sealed string
	if err := r.Scan(&v.Project, &v.ID, &v.Function, &created, &updated, &v.Key, &sealed, &v.Secret); err != nil {
		return nil, err
	}
	v.CreatedAt, v.UpdatedAt = instant(created), instant(updated)
	var err error
	v.Value, err = s.unsealed(sealed, "variable", string(v.Project), string(v.ID))
	return &v, err
}

// owner returns the number of a function, or 0 for the project itself.
func owner(ctx context.Context, t *tx, project flint.ProjectID, function flint.FunctionID) (uid int64, err error) {
	if function == "" {
		return 0, nil
	}
	found, err := t.one(ctx, "select uid from functions where project = $1 and id = $2", []any{string(project), string(function)},
		func(r scanner) error { return r.Scan(&uid) })
	if err == nil && !found {
		err = flint.ErrFunctionNotFound
	}
	return uid, err
}

// stale marks the functions whose variables changed as no longer what their deployment was made with.
func stale(ctx context.Context, t *tx, project flint.ProjectID, function flint.FunctionID) error {
	if function == "" {
		return t.exec(ctx, "update functions set live = $2 where project = $1", string(project), false)
	}
	return t.exec(ctx, "update functions set live = $3 where project = $1 and id = $2", string(project), string(function), false)
}

func (s *Store) variableChanged(project flint.ProjectID, function flint.FunctionID) {
	if function == "" {
		s.changed(Change{Kind: "project", Project: project})
		return
	}
	s.functionChanged(project, function)
}

// CreateVariable adds a variable: ErrVariableExists when its id is taken in the project, or its key in the function.
func (s *Store) CreateVariable(ctx context.Context, v *flint.Variable) error {
	stamp(&v.CreatedAt, &v.UpdatedAt)
	sealed := s.sealed(v.Value, "variable", string(v.Project), string(v.ID))
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		uid, err := owner(ctx, t, v.Project, v.Function)
		if err != nil {
			return err
		}
		err = t.exec(ctx, `insert into variables (project, id, owner, function, created_at, updated_at, key, value, secret)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(v.Project), string(v.ID), uid, string(v.Function),
			millis(v.CreatedAt), millis(v.UpdatedAt), v.Key, sealed, v.Secret)
		if isDuplicate(err) {
			return flint.ErrVariableExists
		}
		if err != nil {
			return err
		}
		if err := s.variableEvent(ctx, t, v, "create"); err != nil {
			return err
		}
		return stale(ctx, t, v.Project, v.Function)
	})
	if err == nil {
		s.variableChanged(v.Project, v.Function)
	}
	return err
}

// A variable belongs to a function that lives, or to the project and has no function's name.
const variableScope = "t.project = $1 and t.function = $2"

const readVariable = "select " + variableColumns + " from variables t where " + variableScope + " and t.id = $3"

// Variable returns a variable of a function, or of the project when function is empty, or ErrVariableNotFound.
func (s *Store) Variable(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.VariableID) (v *flint.Variable, err error) {
	err = s.one(ctx, readVariable, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
		v, err = s.scanVariable(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrVariableNotFound
	}
	return v, err
}

func variableColumn(attribute string) (column, bool) {
	switch attribute {
	case "key":
		return text("t.key")
	case "resourceType":
		return text("(case when t.function = '' then 'project' else 'function' end)")
	case "resourceId":
		return text("t.function")
	case "secret":
		return boolean("t.secret")
	}
	return column{}, false
}

// Variables returns the variables of a function, or of the project when function is empty, that l asks for.
func (s *Store) Variables(ctx context.Context, project flint.ProjectID, function flint.FunctionID, l flint.List) ([]*flint.Variable, int, error) {
	return list(ctx, s, noun[*flint.Variable]{
		name: "Variable", from: "variables t", columns: variableColumns, scope: variableScope, column: variableColumn, scan: s.scanVariable,
	}, []any{string(project), string(function)}, l)
}

// UpdateVariable lets change work on a variable and stores what it leaves, unless it returns an error: ErrVariableExists
// when the new key is taken. What the variable belongs to, its id and its time of creation stay.
func (s *Store) UpdateVariable(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.VariableID, change func(*flint.Variable) error) (*flint.Variable, error) {
	var v *flint.Variable
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, readVariable, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
			v, err = s.scanVariable(r)
			return err
		})
		if err == nil && !found {
			err = flint.ErrVariableNotFound
		}
		if err != nil {
			return err
		}
		created := v.CreatedAt
		if err := change(v); err != nil {
			return err
		}
		v.Project, v.Function, v.ID, v.CreatedAt, v.UpdatedAt = project, function, id, created, now()
		err = t.exec(ctx, "update variables set updated_at = $3, key = $4, value = $5, secret = $6 where project = $1 and id = $2",
			string(project), string(id), millis(v.UpdatedAt), v.Key, s.sealed(v.Value, "variable", string(project), string(id)), v.Secret)
		if isDuplicate(err) {
			return flint.ErrVariableExists
		}
		if err != nil {
			return err
		}
		if err := s.variableEvent(ctx, t, v, "update"); err != nil {
			return err
		}
		return stale(ctx, t, project, function)
	})
	if err != nil {
		return nil, err
	}
	s.variableChanged(project, function)
	return v, nil
}

// DeleteVariable removes a variable or returns ErrVariableNotFound.
func (s *Store) DeleteVariable(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.VariableID) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var v *flint.Variable
		found, err := t.one(ctx, readVariable, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
			v, err = s.scanVariable(r)
			return err
		})
		if err == nil && !found {
			err = flint.ErrVariableNotFound
		}
		if err != nil {
			return err
		}
		if err := t.exec(ctx, "delete from variables where project = $1 and id = $2", string(project), string(id)); err != nil {
			return err
		}
		if err := s.variableEvent(ctx, t, v, "delete"); err != nil {
			return err
		}
		return stale(ctx, t, project, function)
	})
	if err == nil {
		s.variableChanged(project, function)
	}
	return err
}

const readVariables = "select " + variableColumns + " from variables t where " + variableScope + " order by t.created_at, t.id limit $3"

// AllVariables returns the variables that a function is given: those of the project, then its own, each oldest first and
// at most MaxVariablesInjected.
func (s *Store) AllVariables(ctx context.Context, project flint.ProjectID, function flint.FunctionID) ([]*flint.Variable, error) {
	all := []*flint.Variable{}
	for _, f := range []flint.FunctionID{"", function} {
		err := s.each(ctx, readVariables, []any{string(project), string(f), flint.MaxVariablesInjected}, func(r scanner) error {
			v, err := s.scanVariable(r)
			all = append(all, v)
			return err
		})
		if err != nil {
			return nil, err
		}
		if function == "" {
			break
		}
	}
	return all, nil
}

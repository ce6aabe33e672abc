package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode/utf8"

	"flint"
)

const deploymentColumns = `t.id, t.created_at, t.updated_at, t.type, t.status, t.activate, t.source_size, t.build_size, t.build_duration,
	t.build_started_at, t.source_digest, t.build_digest, t.runtime, t.entrypoint, t.commands, t.log_bytes`

// deploymentRow reads a deployment of a function without its log, and whether there is one.
func deploymentRow(project flint.ProjectID, function flint.FunctionID) func(scanner) (*flint.Deployment, error) {
	return func(r scanner) (*flint.Deployment, error) {
		d := flint.Deployment{Project: project, Function: function}
		var created, updated, started, logged int64
		err := r.Scan(&d.ID, &created, &updated, &d.Type, &d.Status, &d.Activate, &d.SourceSize, &d.BuildSize, &d.BuildDuration,
			&started, &d.SourceDigest, &d.BuildDigest, &d.Runtime, &d.Entrypoint, &d.Commands, &logged)
		if err != nil {
			return nil, err
		}
		d.CreatedAt, d.UpdatedAt, d.BuildStartedAt = instant(created), instant(updated), instant(started)
		return &d, nil
	}
}

// CreateDeployment adds a deployment to a function. With Activate it takes the claim to become the active one from all
// others of the function.
func (s *Store) CreateDeployment(ctx context.Context, d *flint.Deployment) error {
	stamp(&d.CreatedAt, &d.UpdatedAt)
	if d.Status == "" {
		d.Status = flint.DeploymentWaiting
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := insertDeployment(ctx, t, d); err != nil || d.SourceDigest == "" {
			return err // an upload that is not whole yet is nobody's business
		}
		return s.deploymentEvent(ctx, t, d, "create")
	})
	if err == nil {
		s.functionChanged(d.Project, d.Function)
	}
	return err
}

// insertDeployment adds the row and returns the number of the function's present life.
func insertDeployment(ctx context.Context, t *tx, d *flint.Deployment) (uid int64, err error) {
	if uid, err = owner(ctx, t, d.Project, d.Function); err != nil {
		return 0, err
	}
	if uid == 0 {
		return 0, flint.ErrFunctionNotFound
	}
	if d.Activate {
		if err := unclaim(ctx, t, uid); err != nil {
			return 0, err
		}
	}
	if err := t.exec(ctx, `insert into deployments (id, owner, created_at, updated_at, type, status, activate, source_size, build_size,
		build_duration, build_started_at, source_digest, build_digest, runtime, entrypoint, commands, log_bytes, lease_node, lease_until,
		attempt, losses) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, '', 0, 0, 0)`,
		string(d.ID), uid, millis(d.CreatedAt), millis(d.UpdatedAt), d.Type, string(d.Status), d.Activate, d.SourceSize, d.BuildSize,
		d.BuildDuration, millis(d.BuildStartedAt), d.SourceDigest, d.BuildDigest, d.Runtime, d.Entrypoint, d.Commands); err != nil {
		return 0, err
	}
	return uid, appendLog(ctx, t, d.ID, d.BuildLogs)
}

// unclaim takes from all deployments of a function the claim to become the active one.
func unclaim(ctx context.Context, t *tx, uid int64) error {
	return t.exec(ctx, "update deployments set activate = $2 where owner = $1 and activate = $3", uid, false, true)
}

// DuplicateDeployment adds a deployment that has another one's source and type, and everything else of d.
// ErrDeploymentNotFound when that one is not there or has no source.
func (s *Store) DuplicateDeployment(ctx context.Context, d *flint.Deployment, of flint.DeploymentID) error {
	stamp(&d.CreatedAt, &d.UpdatedAt)
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		from, err := deployment(ctx, t, d.Project, d.Function, of)
		if err != nil {
			return err
		}
		if from.SourceDigest == "" {
			return flint.ErrDeploymentNotFound
		}
		d.Type, d.SourceDigest, d.SourceSize = from.Type, from.SourceDigest, from.SourceSize
		if _, err = insertDeployment(ctx, t, d); err != nil {
			return err
		}
		return s.deploymentEvent(ctx, t, d, "update") // the reference's event of a duplicate
	})
	if err == nil {
		s.functionChanged(d.Project, d.Function)
	}
	return err
}

// Rows of a function are found by the number of its present life.
const ownerScope = "t.owner = " + ownerUID

const readDeployment = "select " + deploymentColumns + " from deployments t where " + ownerScope + " and t.id = $3"

// Deployment returns a deployment of a function, its build log included, or ErrDeploymentNotFound.
func (s *Store) Deployment(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.DeploymentID) (d *flint.Deployment, err error) {
	err = s.one(ctx, readDeployment, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
		d, err = deploymentRow(project, function)(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrDeploymentNotFound
	}
	if err != nil {
		return nil, err
	}
	return d, s.readLogs(ctx, d)
}

func deployment(ctx context.Context, t *tx, project flint.ProjectID, function flint.FunctionID, id flint.DeploymentID) (d *flint.Deployment, err error) {
	found, err := t.one(ctx, readDeployment, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
		d, err = deploymentRow(project, function)(r)
		return err
	})
	if err == nil && !found {
		err = flint.ErrDeploymentNotFound
	}
	return d, err
}

func deploymentColumn(attribute string) (column, bool) {
	switch attribute {
	case "buildSize":
		return integer("t.build_size")
	case "sourceSize":
		return integer("t.source_size")
	case "totalSize":
		return integer("(t.source_size + t.build_size)")
	case "buildDuration":
		return integer("t.build_duration")
	case "status":
		return text("t.status")
	case "activate":
		return boolean("t.activate")
	case "type":
		return text("t.type")
	}
	return column{}, false
}

// Deployments returns the deployments of a function that l asks for, and how many there are.
func (s *Store) Deployments(ctx context.Context, project flint.ProjectID, function flint.FunctionID, l flint.List) ([]*flint.Deployment, int, error) {
	all, total, err := list(ctx, s, noun[*flint.Deployment]{
		name: "Deployment", from: "deployments t", columns: deploymentColumns, scope: ownerScope, column: deploymentColumn,
		scan: deploymentRow(project, function),
	}, []any{string(project), string(function)}, l)
	if err != nil {
		return nil, 0, err
	}
	if len(l.Select) > 0 && !selects(l, "buildLogs") {
		return all, total, nil
	}
	return all, total, s.readLogs(ctx, all...)
}

func selects(l flint.List, attribute string) bool {
	for _, a := range l.Select {
		if a == attribute || a == "*" {
			return true
		}
	}
	return false
}

// DeleteDeployment removes a deployment, which stops being its function's active or latest one.
func (s *Store) DeleteDeployment(ctx context.Context, project flint.ProjectID, fn flint.FunctionID, id flint.DeploymentID) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		f, uid, err := function(ctx, t, project, fn)
		if err != nil {
			return err
		}
		return s.deleteDeployment(ctx, t, f, uid, id)
	})
	if err == nil {
		s.functionChanged(project, fn)
	}
	return err
}

func (s *Store) deleteDeployment(ctx context.Context, t *tx, f *flint.Function, uid int64, id flint.DeploymentID) error {
	d, err := deployment(ctx, t, f.Project, f.ID, id)
	if err != nil {
		return err
	}
	if err := t.exec(ctx, "delete from deployments where id = $1 and owner = $2", string(id), uid); err != nil {
		return err
	}
	if err := s.deploymentEvent(ctx, t, d, "delete"); err != nil {
		return err
	}
	if err := t.exec(ctx, "delete from build_logs where deployment = $1", string(id)); err != nil {
		return err
	}
	if f.DeploymentID != id && f.LatestDeploymentID != id {
		return nil
	}
	if f.DeploymentID == id {
		f.DeploymentID, f.DeploymentCreatedAt = "", instant(0)
	}
	if f.LatestDeploymentID == id {
		if err := latest(ctx, t, f, uid); err != nil {
			return err
		}
	}
	return s.updateFunction(ctx, t, f)
}

// latest sets a function's latest deployment to the newest one there is.
func latest(ctx context.Context, t *tx, f *flint.Function, uid int64) error {
	f.LatestDeploymentID, f.LatestDeploymentStatus, f.LatestDeploymentCreatedAt = "", "", instant(0)
	_, err := t.one(ctx, "select id, status, created_at from deployments where owner = $1 order by created_at desc, id desc limit 1", []any{uid},
		func(r scanner) error {
			var created int64
			err := r.Scan(&f.LatestDeploymentID, &f.LatestDeploymentStatus, &created)
			f.LatestDeploymentCreatedAt = instant(created)
			return err
		})
	return err
}

// ActivateDeployment makes a deployment the one that calls go to: ErrBuildNotReady unless its build is ready.
func (s *Store) ActivateDeployment(ctx context.Context, project flint.ProjectID, fn flint.FunctionID, id flint.DeploymentID) (*flint.Function, error) {
	var f *flint.Function
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		if f, _, err = function(ctx, t, project, fn); err != nil {
			return err
		}
		d, err := deployment(ctx, t, project, fn, id)
		if err != nil {
			return err
		}
		if d.Status != flint.DeploymentReady {
			return flint.ErrBuildNotReady
		}
		f.DeploymentID, f.DeploymentCreatedAt = d.ID, d.CreatedAt
		if err := s.updateFunction(ctx, t, f); err != nil {
			return err
		}
		return s.deploymentEvent(ctx, t, d, "update")
	})
	if err != nil {
		return nil, err
	}
	s.functionChanged(project, fn)
	return f, nil
}

// DigestsInUse returns those of the digests that name the source or the build of a deployment.
func (s *Store) DigestsInUse(ctx context.Context, digests []string) (map[string]bool, error) {
	used := map[string]bool{}
	for _, digest := range digests {
		if digest == "" {
			continue // names nothing
		}
		err := s.one(ctx, `select 1 from deployments t join functions f on f.uid = t.owner where t.source_digest = $1 or t.build_digest = $1 limit 1`,
			[]any{digest}, ignore)
		switch {
		case err == nil:
			used[digest] = true
		case !errors.Is(err, sql.ErrNoRows):
			return nil, err
		}
	}
	return used, nil
}

// appendLog adds text to a deployment's build log, of which the newest MaxBuildLog bytes are kept. The log is rows of
// its own, so that a line costs a line and not a megabyte.
func appendLog(ctx context.Context, t *tx, id flint.DeploymentID, text string) error {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
	if text = tail(text, flint.MaxBuildLog); text == "" {
		return nil
	}
	var total int64
	found, err := t.one(ctx, "update deployments set log_bytes = log_bytes + $2 where id = $1 returning log_bytes", []any{string(id), len(text)},
		func(r scanner) error { return r.Scan(&total) })
	if err != nil || !found {
		return err
	}
	if err := t.exec(ctx, `insert into build_logs (deployment, seq, size, text)
		values ($1, (select coalesce(max(seq), 0) + 1 from build_logs where deployment = $1), $2, $3)`, string(id), len(text), text); err != nil {
		return err
	}
	for total > flint.MaxBuildLog {
		var seq, size int64
		found, err := t.one(ctx, "select seq, size from build_logs where deployment = $1 order by seq limit 1", []any{string(id)},
			func(r scanner) error { return r.Scan(&seq, &size) })
		if err != nil || !found || total-size < flint.MaxBuildLog {
			return err
		}
		if err := t.exec(ctx, "delete from build_logs where deployment = $1 and seq = $2", string(id), seq); err != nil {
			return err
		}
		if err := t.exec(ctx, "update deployments set log_bytes = log_bytes - $2 where id = $1", string(id), size); err != nil {
			return err
		}
		total -= size
	}
	return nil
}

// tail returns the newest n bytes of text, or a little less so as not to split a character.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}

const readBuildLog = "select text from build_logs where deployment = $1 order by seq"

// readLogs gives deployments their build logs.
func (s *Store) readLogs(ctx context.Context, all ...*flint.Deployment) error {
	for _, d := range all {
		var b strings.Builder
		err := s.each(ctx, readBuildLog, []any{string(d.ID)}, func(r scanner) error {
			var line sql.RawBytes
			if err := r.Scan(&line); err != nil {
				return err
			}
			b.Write(line)
			return nil
		})
		if err != nil {
			return err
		}
		d.BuildLogs = tail(b.String(), flint.MaxBuildLog)
	}
	return nil
}

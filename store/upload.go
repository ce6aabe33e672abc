package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"flint"
)

// Upload is what is known of an upload that comes in several requests.
type Upload struct {
	Deployment       flint.DeploymentID
	Project          flint.ProjectID // empty, with Function, when the deployment is gone
	Function         flint.FunctionID
	Status           flint.DeploymentStatus // of the deployment
	Total            int64                  // bytes of the whole file
	Chunks, Received int
	TouchedAt        time.Time
}

// Complete reports whether every part has come.
func (u *Upload) Complete() bool { return u.Received == u.Chunks }

const uploadColumns = `u.deployment, coalesce(f.project, ''), coalesce(f.id, ''), coalesce(d.status, ''), u.total, u.chunks, u.touched_at,
	(select count(*) from upload_chunks c where c.deployment = u.deployment)
	from uploads u left join deployments d on d.id = u.deployment left join functions f on f.uid = d.owner`

func scanUpload(r scanner) (*Upload, error) {
	var u Upload
	var touched int64
	err := r.Scan(&u.Deployment, &u.Project, &u.Function, &u.Status, &u.Total, &u.Chunks, &touched, &u.Received)
	u.TouchedAt = instant(touched)
	return &u, err
}

// BeginUpload adds a deployment whose source comes in parts. It waits, and no builder takes it before CompleteUpload.
func (s *Store) BeginUpload(ctx context.Context, d *flint.Deployment, total int64, chunks int) error {
	stamp(&d.CreatedAt, &d.UpdatedAt)
	d.Status, d.SourceSize, d.SourceDigest = flint.DeploymentWaiting, total, ""
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		uid, err := insertDeployment(ctx, t, d)
		if err != nil {
			return err
		}
		return t.exec(ctx, "insert into uploads (deployment, owner, total, chunks, touched_at) values ($1, $2, $3, $4, $5)",
			string(d.ID), uid, total, chunks, millis(d.CreatedAt))
	})
	if err == nil {
		s.functionChanged(d.Project, d.Function)
	}
	return err
}

// Upload returns an upload that is not complete, or nil when none of that name is.
func (s *Store) Upload(ctx context.Context, id flint.DeploymentID) (u *Upload, err error) {
	err = s.one(ctx, "select "+uploadColumns+" where u.deployment = $1", []any{string(id)}, func(r scanner) (err error) {
		u, err = scanUpload(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // no upload is no error
	}
	return u, err
}

// Uploads returns all uploads that are not complete, those that were touched longest ago first.
func (s *Store) Uploads(ctx context.Context) ([]*Upload, error) {
	var all []*Upload
	err := s.each(ctx, "select "+uploadColumns+" order by u.touched_at, u.deployment", nil, func(r scanner) error {
		u, err := scanUpload(r)
		all = append(all, u)
		return err
	})
	return all, err
}

// AddChunk records that a part has come, once or again, and what its request says of type, entrypoint, commands and
// activate: the last request decides. When it returns the part outlives the loss of power.
func (s *Store) AddChunk(ctx context.Context, d *flint.Deployment, chunk int) (u *Upload, err error) {
	err = s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error {
		at := now()
		var uid int64
		found, err := t.one(ctx, `update deployments set updated_at = $2, type = $3, activate = $4, entrypoint = $5, commands = $6
			where id = $1 and status = 'waiting' returning owner`,
			[]any{string(d.ID), millis(at), d.Type, d.Activate, d.Entrypoint, d.Commands}, func(r scanner) error { return r.Scan(&uid) })
		if err == nil && !found {
			err = flint.ErrDeploymentNotFound
		}
		if err != nil {
			return err
		}
		if d.Activate {
			if err := t.exec(ctx, "update deployments set activate = $3 where owner = $1 and activate = $4 and id <> $2", uid, string(d.ID), false, true); err != nil {
				return err
			}
		}
		if err := t.exec(ctx, "insert into upload_chunks (deployment, chunk) values ($1, $2) on conflict do nothing", string(d.ID), chunk); err != nil {
			return err
		}
		if err := t.exec(ctx, "update uploads set touched_at = $2 where deployment = $1", string(d.ID), millis(at)); err != nil {
			return err
		}
		found, err = t.one(ctx, "select "+uploadColumns+" where u.deployment = $1", []any{string(d.ID)}, func(r scanner) (err error) {
			u, err = scanUpload(r)
			return err
		})
		if err == nil && !found {
			err = flint.ErrDeploymentNotFound
		}
		return err
	}})
	return u, err
}

// CompleteUpload gives a deployment the source that was uploaded in parts: from now on it waits for its build.
func (s *Store) CompleteUpload(ctx context.Context, u *Upload, digest string, size int64) (*flint.Deployment, error) {
	return s.endUpload(ctx, u, "update deployments set updated_at = $2, source_digest = $3, source_size = $4 where id = $1 and status = 'waiting'",
		[]any{digest, size}, "")
}

// FailUpload ends a deployment whose source cannot be used, with the reason as its log.
func (s *Store) FailUpload(ctx context.Context, u *Upload, log string) (*flint.Deployment, error) {
	return s.endUpload(ctx, u, "update deployments set updated_at = $2, status = 'failed' where id = $1 and status = 'waiting'", nil, log)
}

func (s *Store) endUpload(ctx context.Context, u *Upload, update string, args []any, log string) (*flint.Deployment, error) {
	var d *flint.Deployment
	err := s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error {
		f, uid, err := function(ctx, t, u.Project, u.Function)
		if err != nil {
			return err
		}
		n, err := t.count(ctx, update, append([]any{string(u.Deployment), millis(now())}, args...)...)
		if err != nil {
			return err
		}
		if n == 0 {
			return flint.ErrDeploymentNotFound
		}
		if err := forgetUpload(ctx, t, u.Deployment); err != nil {
			return err
		}
		if err := appendLog(ctx, t, u.Deployment, log); err != nil {
			return err
		}
		if d, err = deployment(ctx, t, u.Project, u.Function, u.Deployment); err != nil {
			return err
		}
		if err := s.deploymentEvent(ctx, t, d, "create"); err != nil || !d.Status.Final() {
			return err
		}
		if err := latest(ctx, t, f, uid); err != nil {
			return err
		}
		return s.updateFunction(ctx, t, f)
	}})
	if err != nil {
		return nil, err
	}
	s.functionChanged(u.Project, u.Function)
	return d, s.readLogs(context.WithoutCancel(ctx), d)
}

// DropUpload removes an upload that nobody continues, and its deployment if it still waits for the rest.
func (s *Store) DropUpload(ctx context.Context, u *Upload) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := forgetUpload(ctx, t, u.Deployment); err != nil {
			return err
		}
		n, err := t.count(ctx, "delete from deployments where id = $1 and status = 'waiting' and source_digest = ''", string(u.Deployment))
		if err != nil || n == 0 || u.Function == "" {
			return err
		}
		f, uid, err := function(ctx, t, u.Project, u.Function)
		if err != nil || f.LatestDeploymentID != u.Deployment {
			return err
		}
		if err := latest(ctx, t, f, uid); err != nil {
			return err
		}
		return s.updateFunction(ctx, t, f)
	})
	if err == nil && u.Function != "" {
		s.functionChanged(u.Project, u.Function)
	}
	return err
}

func forgetUpload(ctx context.Context, t *tx, id flint.DeploymentID) error {
	if err := t.exec(ctx, "delete from upload_chunks where deployment = $1", string(id)); err != nil {
		return err
	}
	return t.exec(ctx, "delete from uploads where deployment = $1", string(id))
}

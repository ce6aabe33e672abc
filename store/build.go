package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"flint"
)

var errNoNode = errors.New("store: a lease needs the name of a node")

const (
	buildRetryLog = "The builder was lost. The build starts again.\n"
	buildLostLog  = "The build failed: the builder was lost, and the build was not tried again.\n"
)

const readWaitingBuild = "select 1 from deployments where status = 'waiting' and source_digest <> '' limit 1"

// ClaimBuild gives the oldest deployment that waits for a builder to a node, for the time of a lease. It returns the
// fencing number of the claim, or no deployment when none waits.
func (s *Store) ClaimBuild(ctx context.Context, node string, lease time.Duration) (*flint.Deployment, int64, error) {
	if node == "" {
		return nil, 0, errNoNode
	}
	// Asking in vain is common and need not wait for the writer.
	if err := s.one(ctx, readWaitingBuild, nil, ignore); errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	var d *flint.Deployment
	var attempt int64
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var project flint.ProjectID
		var fn flint.FunctionID
		d = nil
		found, err := t.one(ctx, "select "+deploymentColumns+`, f.project, f.id, t.attempt from deployments t join functions f on f.uid = t.owner
			where t.status = 'waiting' and t.source_digest <> '' order by t.created_at, t.id limit 1`, nil, func(r scanner) (err error) {
			d, err = deploymentRow("", "")(withLast(withLast(withLast(r, &attempt), &fn), &project))
			return err
		})
		if err != nil || !found {
			return err
		}
		start := now()
		attempt++
		d.Project, d.Function, d.Status, d.UpdatedAt, d.BuildStartedAt = project, fn, flint.DeploymentBuilding, start, start
		return t.exec(ctx, `update deployments set status = 'building', updated_at = $2, build_started_at = $2, lease_node = $3, lease_until = $4,
			attempt = $5 where id = $1`, string(d.ID), millis(start), node, millis(start.Add(lease)), attempt)
	})
	if err != nil || d == nil {
		return nil, 0, err
	}
	s.functionChanged(d.Project, d.Function)
	return d, attempt, s.readLogs(context.WithoutCancel(ctx), d) // claimed: a caller that gives up now must know
}

// ExtendBuild lengthens a lease. It reports that the build was cancelled, given to another builder or deleted meanwhile:
// the builder must stop then.
func (s *Store) ExtendBuild(ctx context.Context, id flint.DeploymentID, attempt int64, lease time.Duration) (canceled bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.count(ctx, "update deployments set lease_until = $3 where id = $1 and attempt = $2 and status = 'building'",
			string(id), attempt, millis(now().Add(lease)))
		canceled = n == 0
		return err
	})
	return canceled && err == nil, err
}

// ReleaseBuild hands back a build that was not finished, at the builder's own wish: it waits again, and the attempt does
// not count as a loss. A stale attempt changes nothing.
func (s *Store) ReleaseBuild(ctx context.Context, id flint.DeploymentID, attempt int64) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, `update deployments set status = 'waiting', updated_at = $3, lease_node = '', lease_until = 0
			where id = $1 and attempt = $2 and status = 'building'`, string(id), attempt, millis(now()))
	})
}

// AppendBuildLog adds to the log of a running build. What a lost attempt says is dropped.
func (s *Store) AppendBuildLog(ctx context.Context, id flint.DeploymentID, attempt int64, text string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		current, err := t.one(ctx, "update deployments set updated_at = $3 where id = $1 and attempt = $2 and status = 'building' returning id",
			[]any{string(id), attempt, millis(now())}, ignore)
		if err != nil || !current {
			return err
		}
		return appendLog(ctx, t, id, text)
	})
}

// BuildOutcome is how a build ended.
type BuildOutcome struct {
	Status   flint.DeploymentStatus // a final one
	Log      string                 // appended
	Digest   string                 // of the package, when ready
	Size     int64
	Duration int // whole seconds
}

// FinishBuild records how a build ended and reports whether it counted: a result of a lost or cancelled attempt does
// not. A deployment that is ready and claims it becomes the function's active one.
func (s *Store) FinishBuild(ctx context.Context, id flint.DeploymentID, attempt int64, o BuildOutcome) (bool, error) {
	if !o.Status.Final() {
		return false, errors.New("store: a build cannot end as " + string(o.Status))
	}
	var f *flint.Function
	over := func() {}
	defer func() { over() }()
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var uid, created int64
		var activate bool
		f = nil
		found, err := t.one(ctx, `update deployments set status = $3, updated_at = $4, build_digest = $5, build_size = $6, build_duration = $7,
			lease_node = '', lease_until = 0 where id = $1 and attempt = $2 and status = 'building' returning owner, created_at, activate`,
			[]any{string(id), attempt, string(o.Status), millis(now()), o.Digest, o.Size, o.Duration},
			func(r scanner) error { return r.Scan(&uid, &created, &activate) })
		if err != nil || !found {
			return err
		}
		if err := appendLog(ctx, t, id, o.Log); err != nil {
			return err
		}
		if f, err = functionByUID(ctx, t, uid); err != nil || f == nil {
			return err
		}
		over() // of a transaction that was tried before
		over = s.changing(f.Project, f.ID)
		if o.Status == flint.DeploymentReady && activate {
			f.DeploymentID, f.DeploymentCreatedAt, f.Live = id, instant(created), true
		}
		if err := latest(ctx, t, f, uid); err != nil {
			return err
		}
		if err := s.updateFunction(ctx, t, f); err != nil {
			return err
		}
		return s.builtEvent(ctx, t, f, id)
	})
	if err != nil || f == nil {
		return false, err
	}
	s.changed(Change{Kind: "function", Project: f.Project, Function: f.ID, Visible: true}) // clients poll for the end of a build
	return true, nil
}

// functionByUID returns the function of that life, or nil when it is over.
func functionByUID(ctx context.Context, t *tx, uid int64) (f *flint.Function, err error) {
	_, err = t.one(ctx, "select "+functionColumns+" from functions t where t.uid = $1", []any{uid}, func(r scanner) (err error) {
		f, err = scanFunction(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// CancelBuild ends a build that is not finished, with a last line of log: ErrBuildCompleted when it is ready or failed.
// A cancelled one may be cancelled again.
func (s *Store) CancelBuild(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.DeploymentID, log string) (*flint.Deployment, error) {
	var d *flint.Deployment
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		if d, err = deployment(ctx, t, project, function, id); err != nil {
			return err
		}
		if d.Status == flint.DeploymentReady || d.Status == flint.DeploymentFailed {
			return flint.ErrBuildCompleted
		}
		d.UpdatedAt = now()
		if d.Status != flint.DeploymentCanceled && !d.BuildStartedAt.IsZero() {
			d.BuildDuration = int(d.UpdatedAt.Sub(d.BuildStartedAt) / time.Second)
		}
		d.Status = flint.DeploymentCanceled
		if err := t.exec(ctx, `update deployments set status = 'canceled', updated_at = $2, build_duration = $3, lease_node = '', lease_until = 0
			where id = $1`, string(id), millis(d.UpdatedAt), d.BuildDuration); err != nil {
			return err
		}
		return appendLog(ctx, t, id, log)
	})
	if err != nil {
		return nil, err
	}
	s.functionChanged(project, function)
	return d, s.readLogs(context.WithoutCancel(ctx), d)
}

// lostBuild is a build whose builder is gone.
type lostBuild struct {
	id     flint.DeploymentID
	owner  int64
	losses int64
}

// SettleBuilds finds builds whose lease ran out, and those that the node itself held in an earlier life when it passes
// its name at start. They wait again; one that was lost maxAttempts times has failed.
func (s *Store) SettleBuilds(ctx context.Context, node string, at time.Time, maxAttempts int64) (retried, failed int, err error) {
	var touched []*flint.Function
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		retried, failed, touched = 0, 0, nil
		var lost []lostBuild
		err := t.each(ctx, "select id, owner, losses from deployments where lease_node <> '' and (lease_until < $1 or lease_node = $2) order by created_at, id",
			[]any{millis(at), node}, func(r scanner) error {
				var b lostBuild
				err := r.Scan(&b.id, &b.owner, &b.losses)
				lost = append(lost, b)
				return err
			})
		if err != nil {
			return err
		}
		for _, b := range lost {
			f, again, err := s.settleBuild(ctx, t, b, millis(at), maxAttempts)
			if err != nil {
				return err
			}
			if again {
				retried++
			} else {
				failed++
			}
			if f != nil {
				touched = append(touched, f)
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for _, f := range touched {
		s.functionChanged(f.Project, f.ID)
	}
	return retried, failed, nil
}

func (s *Store) settleBuild(ctx context.Context, t *tx, b lostBuild, at, maxAttempts int64) (f *flint.Function, again bool, err error) {
	status, log := flint.DeploymentFailed, buildLostLog
	if again = b.losses+1 < maxAttempts; again {
		status, log = flint.DeploymentWaiting, buildRetryLog
	}
	if err := t.exec(ctx, `update deployments set status = $2, updated_at = $3, losses = losses + 1, lease_node = '', lease_until = 0 where id = $1`,
		string(b.id), string(status), at); err != nil {
		return nil, again, err
	}
	if err := appendLog(ctx, t, b.id, log); err != nil {
		return nil, again, err
	}
	f, err = functionByUID(ctx, t, b.owner)
	if err != nil || f == nil || again {
		return f, again, err
	}
	if err := latest(ctx, t, f, b.owner); err != nil {
		return nil, again, err
	}
	if err := s.updateFunction(ctx, t, f); err != nil {
		return nil, again, err
	}
	return f, again, s.builtEvent(ctx, t, f, b.id)
}

// builtEvent records that a build has ended.
func (s *Store) builtEvent(ctx context.Context, t *tx, f *flint.Function, id flint.DeploymentID) error {
	d, err := deployment(ctx, t, f.Project, f.ID, id)
	if err != nil {
		return err
	}
	return s.deploymentEvent(ctx, t, d, "update")
}

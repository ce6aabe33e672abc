package upload

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"flint"
	"flint/store"
)

// sweepTime is how often uploads are looked through for those that nobody continues.
const sweepTime = 10 * time.Minute

// Ring says that a deployment is gone, whose parts may have to go with it. It does not wait.
func (k *Keeper) Ring() { k.bell.Ring() }

// Work looks after uploads until ctx ends: now, for what an earlier life left, when it is rung and at intervals.
func (k *Keeper) Work(ctx context.Context) error {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		if err := k.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			k.config.Logger.ErrorContext(ctx, "unfinished uploads cannot be looked through", slog.Any("err", err))
		}
		select {
		case <-tick.C:
		case <-k.bell:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sweep completes uploads whose parts are all there, which a node did that died before it could, removes those that
// nobody has continued for MaxAge with their deployments, and removes the parts of deployments that are gone or canceled.
func (k *Keeper) Sweep(ctx context.Context, at time.Time) error {
	// The folders first: one that is there without a row afterwards has lost its row, and not got it yet.
	folders, err := os.ReadDir(filepath.Join(k.config.Dir, "parts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all, err := k.config.Store.Uploads(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	var failed []error
	for _, u := range all {
		known[string(u.Deployment)] = true
		if k.over(u, at) || u.Complete() {
			failed = append(failed, k.settle(ctx, u.Deployment, at))
		}
	}
	for _, folder := range folders {
		if !known[folder.Name()] {
			failed = append(failed, os.RemoveAll(filepath.Join(k.config.Dir, "parts", folder.Name())))
		}
	}
	return errors.Join(failed...)
}

// over reports whether an upload will not be continued.
func (k *Keeper) over(u *store.Upload, at time.Time) bool {
	return u.Function == "" || u.Status != flint.DeploymentWaiting || !u.Complete() && u.TouchedAt.Before(at.Add(-k.config.MaxAge))
}

// settle ends one upload, unless it has gone on meanwhile.
func (k *Keeper) settle(ctx context.Context, id flint.DeploymentID, at time.Time) error {
	unlock, err := k.lock(ctx, id)
	if errors.Is(err, flint.ErrRateLimited) {
		return nil // it goes on
	}
	if err != nil {
		return err
	}
	defer unlock()
	u, err := k.config.Store.Upload(ctx, id)
	if err != nil || u == nil {
		return err
	}
	if k.over(u, at) {
		k.config.Logger.InfoContext(ctx, "upload removed that nobody continued", slog.String("deployment_id", string(id)),
			slog.Int("chunks", u.Chunks), slog.Int("received", u.Received))
		return errors.Join(k.config.Store.DropUpload(ctx, u), os.RemoveAll(k.dir(id)))
	}
	if !u.Complete() {
		return nil
	}
	_, err = k.finish(ctx, u)
	var known *flint.Error
	if errors.As(err, &known) && known.Kind == flint.Invalid {
		return nil // it has failed, and says why
	}
	return err
}

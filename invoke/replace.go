package invoke

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"flint"
	"flint/internal/pull"
)

// replaceTime bounds how long a change waits for workers of what a function is now, while calls still go to what it was: long
// enough for slow starts on a busy machine, and shorter than prepared workers are kept.
const replaceTime = 8 * time.Second

// replaceAtOnce is how many functions of a project are made ready at the same time when a variable of theirs changed.
const replaceAtOnce = 8

// changes are the functions that changed and have to be looked at by Follow.
type changes struct {
	mu   sync.Mutex
	keys map[functionKey]bool
	bell pull.Bell
}

func (c *changes) add(key functionKey) {
	c.mu.Lock()
	if len(c.keys) < maxTargets { // those beyond are looked at with their next call
		c.keys[key] = true
	}
	c.mu.Unlock()
	c.bell.Ring()
}

func (c *changes) take() map[functionKey]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := c.keys
	c.keys = map[functionKey]bool{}
	return keys
}

// Changing says that a function changes at any moment: until over is called, calls meet what it is when they begin.
func (i *Invoker) Changing(project flint.ProjectID, function flint.FunctionID) (over func()) {
	return i.targets.hold(functionKey{project, function})
}

// Changed follows a change of a function, or of all functions of a project when function is empty. Calls that begin
// after it has returned meet what the function is now. One that is being called is not interrupted: new workers are
// made ready first, and until they are, though for eight seconds at most, calls go on with what was. atOnce does without
// that, because somebody may have seen the change already: calls wait for the new workers then.
func (i *Invoker) Changed(project flint.ProjectID, function flint.FunctionID, atOnce bool) {
	keys := []functionKey{{project, function}}
	if function == "" {
		i.targets.mark(functionKey{project, ""})
		keys = i.targets.of(project)
	}
	var busy []functionKey
	for _, key := range keys {
		if _, working := i.config.Pool.Known(key.project, key.function); working && !atOnce {
			busy = append(busy, key)
		} else {
			i.targets.forget(key.project, key.function)
		}
		i.changes.add(key)
	}
	if len(busy) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), replaceTime) //nolint:forbidigo // a change has happened, whoever made it
	defer cancel()
	slots := make(chan struct{}, replaceAtOnce)
	var all sync.WaitGroup
	for _, key := range busy {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			i.replace(ctx, key)
		})
	}
	all.Wait()
}

// ForgetAll has every function read anew, because changes may have been missed.
func (i *Invoker) ForgetAll() {
	for _, key := range i.targets.forgetAll() {
		i.changes.add(key)
	}
}

// replace makes workers ready for what a function is now, and then has calls go to them.
func (i *Invoker) replace(ctx context.Context, key functionKey) {
	order := i.targets.mark(key)
	t, err := i.loadTarget(ctx, key)
	if err != nil || t.worker == nil {
		i.targets.forget(key.project, key.function)
		return
	}
	t.setOrder(order)
	if old := i.targets.peek(key); old == nil || old.worker == nil || old.worker.Key != t.worker.Key {
		begin := time.Now()
		if err := i.config.Pool.Prepare(ctx, t.worker); err != nil {
			i.config.Logger.DebugContext(ctx, "calls wait for the workers of a changed function", slog.String("function_id", string(key.function)), slog.Duration("dur", time.Since(begin)), errAttr(err))
		}
	}
	i.targets.put(key, t)
	i.config.Pool.Adopt(t.worker)
}

// Refresh has a function looked at as if it had changed: its workers are made what they should be.
func (i *Invoker) Refresh(project flint.ProjectID, function flint.FunctionID) {
	i.changes.add(functionKey{project, function})
}

// Follow looks at functions that changed until ctx ends: workers that are to be kept warm are started although nobody
// calls, and those that are not wanted any more go.
func (i *Invoker) Follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-i.changes.bell:
		}
		for key := range i.changes.take() {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // it was told to stop
			}
			i.look(ctx, key)
		}
	}
}

func (i *Invoker) look(ctx context.Context, key functionKey) {
	known, _ := i.config.Pool.Known(key.project, key.function)
	t, err := i.targets.get(ctx, key.project, key.function)
	switch {
	case err == nil && t.worker != nil:
		if known || t.worker.Scaling.MinWarm > 0 {
			i.config.Pool.Adopt(t.worker)
		}
	case known && ctx.Err() == nil:
		i.config.Pool.Dismiss(key.project, key.function)
	}
}

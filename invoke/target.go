package invoke

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"sync"
	"time"

	"flint"
	"flint/auth"
	"flint/worker"
)

// target is everything that a call of a function needs to know, read once and kept until the function changes.
type target struct {
	function   *flint.Function
	deployment *flint.Deployment // nil: none is active
	worker     *worker.Target    // nil unless the deployment is ready and its runtime here
	meters     *meters           // of the runtime, with worker
	missing    error             // why worker is nil
	order      uint64            // larger for those that were read later
	keys       keyCache
}

// targets keeps what was read, by function.
type targets struct {
	load func(context.Context, functionKey) (*target, error)

	mu      sync.RWMutex
	known   map[functionKey]*target
	version map[functionKey]uint64 // counts changes, so that what was read before one is not kept after it
	changes uint64
	held    map[functionKey]int // that change at any moment: whoever asks for one reads it anew
}

type functionKey struct {
	project  flint.ProjectID
	function flint.FunctionID
}

// maxTargets bounds the memory; beyond it everything is read anew.
const maxTargets = 20_000

func newTargets(load func(context.Context, functionKey) (*target, error)) *targets {
	return &targets{load: load, known: map[functionKey]*target{}, version: map[functionKey]uint64{}, held: map[functionKey]int{}}
}

func (t *targets) get(ctx context.Context, project flint.ProjectID, function flint.FunctionID) (*target, error) {
	key, whole := functionKey{project, function}, functionKey{project, ""}
	t.mu.RLock()
	got, held := t.known[key], t.held[key] > 0
	if got != nil && !held {
		t.mu.RUnlock()
		return got, nil
	}
	before, beforeWhole, all := t.version[key], t.version[whole], t.changes
	t.mu.RUnlock()
	if held {
		order := t.mark(key) // each its own: what is read later counts
		got, err := t.load(ctx, key)
		if err == nil {
			got.setOrder(order)
		}
		return got, err
	}
	got, err := t.load(ctx, key)
	if err != nil {
		return nil, err
	}
	got.setOrder(all)
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.known[key]; now != nil && now.order >= all {
		return now, nil
	}
	if t.version[key] == before && t.version[whole] == beforeWhole && t.changes-all < maxTargets {
		if len(t.known) >= maxTargets {
			clear(t.known)
		}
		t.known[key] = got
	}
	return got, nil
}

// hold has a function read anew, and not kept, until over is called.
func (t *targets) hold(key functionKey) (over func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[key]++
	t.note(key) // what is being read may be older
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.held[key]--; t.held[key] == 0 {
			delete(t.held, key)
		}
	}
}

func (t *targets) forget(project flint.ProjectID, function flint.FunctionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if function == "" { // a variable of the project changed
		for key := range t.known {
			if key.project == project {
				delete(t.known, key)
			}
		}
	}
	key := functionKey{project, function}
	delete(t.known, key)
	t.note(key)
}

// forgetAll drops everything, also what is being read, and returns what was in memory.
func (t *targets) forgetAll() []functionKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]functionKey, 0, len(t.known))
	for key := range t.known {
		keys = append(keys, key)
	}
	clear(t.known)
	t.changes += maxTargets // get keeps nothing that it began to read so many changes ago
	return keys
}

func (t *target) setOrder(order uint64) {
	t.order = order
	if t.worker != nil {
		t.worker.Order = order
	}
}

// of returns the functions of a project that are in memory.
func (t *targets) of(project flint.ProjectID) []functionKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var keys []functionKey
	for key := range t.known {
		if key.project == project {
			keys = append(keys, key)
		}
	}
	return keys
}

// mark notes a change of a function, or of all of a project, of which calls need not know yet: what is in memory stays,
// what is being read is not kept. It returns the order of what is read from now on.
func (t *targets) mark(key functionKey) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(key)
	return t.changes
}

func (t *targets) note(key functionKey) {
	t.changes++
	if len(t.version) >= maxTargets {
		clear(t.version) // get compares changes as well
	}
	t.version[key] = t.changes
}

// peek returns what is in memory of a function, or nil.
func (t *targets) peek(key functionKey) *target {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.known[key]
}

// put replaces what is in memory of a function by what was read later. Where nothing is, nothing is kept: something else
// may have changed since.
func (t *targets) put(key functionKey, read *target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.known[key]; now != nil && now.order <= read.order {
		t.known[key] = read
	}
}

// loadTarget reads a function with its active deployment and variables.
func (i *Invoker) loadTarget(ctx context.Context, key functionKey) (*target, error) {
	f, err := i.config.Store.Function(ctx, key.project, key.function)
	if err != nil {
		return nil, err
	}
	t := &target{function: f}
	if f.DeploymentID == "" {
		t.missing = flint.ErrDeploymentToExecute
		return t, nil
	}
	if t.deployment, err = i.config.Store.Deployment(ctx, key.project, key.function, f.DeploymentID); err != nil {
		return nil, err
	}
	switch t.deployment.Status {
	case flint.DeploymentReady:
	case flint.DeploymentFailed:
		t.missing = flint.ErrBuildNotReady.Because(flint.ErrBuildFailed)
	case flint.DeploymentCanceled:
		t.missing = flint.ErrBuildNotReady.Because(flint.ErrBuildCanceled)
	default:
		t.missing = flint.ErrBuildNotReady
	}
	if t.missing != nil {
		return t, nil //nolint:nilerr // each call is told, not who asks for the target
	}
	id := t.deployment.Runtime
	if id == "" {
		id = f.Runtime
	}
	rt, ok, err := i.config.Runtimes.Lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	if !ok || rt.Toolchain == nil {
		t.missing = flint.ErrRuntimeUnsupported.Saying(`Runtime "%s" is not supported`, id)
		return t, nil
	}
	vars, err := i.config.Store.AllVariables(ctx, key.project, key.function)
	if err != nil {
		return nil, err
	}
	size := flint.SpecificationBySlug(f.RuntimeSpec)
	env := flint.Environment(flint.EnvironmentConfig{
		Function: f, Deployment: t.deployment, RuntimeName: rt.Name, RuntimeVersion: rt.Version, Variables: vars, Size: size,
		Endpoint: i.config.Endpoint, Region: i.config.Region,
	})
	t.worker = &worker.Target{
		Project: f.Project, Function: f.ID, Deployment: t.deployment.ID, Digest: t.deployment.BuildDigest,
		Entrypoint: t.deployment.Entrypoint, Runtime: rt, Env: env, Size: size, Scaling: f.Scaling,
	}
	t.meters = i.metrics.of(rt.ID)
	if !f.Enabled { // it is not there for its clients: nobody needs it warm
		t.worker.Scaling.MinWarm = 0
	}
	t.worker.Key = targetKey(t.worker)
	return t, nil
}

// targetKey is equal for targets whose workers are interchangeable.
func targetKey(t *worker.Target) string {
	sum := sha256.New()
	names := make([]string, 0, len(t.Env))
	for name := range t.Env {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(sum, "%q=%q\n", name, t.Env[name])
	}
	fmt.Fprintf(sum, "%s %s %s %v", t.Digest, t.Entrypoint, t.Runtime.ID, t.Size)
	return string(t.Project) + "/" + string(t.Function) + "/" + string(t.Deployment) + "/" + hex.EncodeToString(sum.Sum(nil)[:8])
}

// keyCache saves the signing of a key for every call: calls of one moment, depth and number of hops share theirs.
type keyCache struct {
	mu    sync.Mutex
	known map[keyPlace]sharedKey
}

type keyPlace struct{ depth, hops int }

type sharedKey struct {
	value string
	made  time.Time
}

// maxKeys bounds a cache: hops have a bound only where events are relayed.
const maxKeys = 64

// maxDepth is how deep calls of functions by functions are told apart; deeper ones count as this deep.
const maxDepth = 3

// depthBelow is how many functions wait for the calls that the function makes while it serves c.
func depthBelow(c *Call) int { return min(c.Caller.Depth+1, maxDepth) }

const keySharing = 5 * time.Second

func (k *keyCache) get(signer *auth.Signer, f *flint.Function, depth, hops int) string {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	place := keyPlace{depth, hops}
	shared := k.known[place]
	if shared.value == "" || now.Sub(shared.made) > keySharing {
		shared = sharedKey{signer.FunctionKey(f.Project, f.Scopes, depth, hops, f.Timeout+time.Minute+keySharing), now}
		if k.known == nil {
			k.known = map[keyPlace]sharedKey{}
		} else if len(k.known) >= maxKeys {
			clear(k.known)
		}
		k.known[place] = shared
	}
	return shared.value
}

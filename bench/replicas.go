package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"flint"
	"flint/store"
)

const projectID = "bench"

// replica is the id of the i-th copy of a function.
func replica(i int) string { return fmt.Sprintf("copy-%d", i) }

// replicaPath is where the i-th copy is called.
func replicaPath(i int, path string) string {
	return "/fn/" + projectID + "/" + replica(i) + path
}

// replicas starts a node of its own with n deployed functions of testdata/work.
func (b *bed) replicas(ctx context.Context, name string, n int, settings ...string) (*node, error) {
	return b.replicasOf(ctx, name, "node", "work", n, settings...)
}

// replicasOf starts a node of its own with n deployed functions of a folder of testdata. One is uploaded and built; the others
// are written to the stopped node's database as copies of it, which takes seconds and not hours.
func (b *bed) replicasOf(ctx context.Context, name, language, source string, n int, settings ...string) (*node, error) {
	t, err := b.toolchain(ctx, language)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	first, err := startNode(ctx, b.program, dir)
	if err != nil {
		return nil, err
	}
	b.processes = append(b.processes, first.process)
	const template = "template"
	if err := first.upload(ctx, template, source, t); err != nil {
		return nil, err
	}
	first.process.stop()
	b.say("%s: copying a function %d times", name, n)
	if err := replicate(ctx, filepath.Join(dir, "data"), template, n); err != nil {
		return nil, fmt.Errorf("copy a function: %w", err)
	}
	return b.again(ctx, name, settings...)
}

// again starts a node on the data that an earlier one has left.
func (b *bed) again(ctx context.Context, name string, settings ...string) (*node, error) {
	n, err := startNode(ctx, b.program, filepath.Join(b.dir, name), append([]string{"FLINT_RATE_LIMITS=false"}, settings...)...)
	if err == nil {
		b.processes = append(b.processes, n.process)
	}
	return n, err
}

func replicate(ctx context.Context, data string, template flint.FunctionID, n int) (err error) {
	secret, err := os.ReadFile(filepath.Join(data, "secret"))
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(data, "flint.db"), Secret: secret})
	if err != nil {
		return err
	}
	defer func() {
		if closed := db.Close(); err == nil {
			err = closed
		}
	}()
	of, err := db.Function(ctx, projectID, template)
	if err != nil {
		return err
	}
	build, err := db.Deployment(ctx, projectID, template, of.DeploymentID)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32) // so that they share commits
	for i := range n {
		g.Go(func() error {
			f, d := *of, *build
			f.ID, f.Name, f.DeploymentID, f.LatestDeploymentID = flint.FunctionID(replica(i)), replica(i), "", ""
			d.ID, d.Function, d.BuildLogs = flint.DeploymentID(flint.NewID()), f.ID, ""
			if err := db.CreateFunction(ctx, &f, nil); err != nil {
				return err
			}
			if err := db.CreateDeployment(ctx, &d); err != nil {
				return err
			}
			_, err := db.ActivateDeployment(ctx, projectID, f.ID, d.ID)
			return err
		})
	}
	return g.Wait()
}

// chill makes every function of the node cold: a variable of the project changes, for which no worker may be used that is there.
func (n *node) chill(ctx context.Context, round int) error {
	value := map[string]any{"variableId": fmt.Sprintf("round-%d", round), "key": fmt.Sprintf("BENCH_ROUND_%d", round), "value": "x"}
	return n.rest(ctx, http.MethodPost, "/v1/project/variables", value, nil)
}

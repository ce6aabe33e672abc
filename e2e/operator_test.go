package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"flint/e2e/node"
)

// operator runs a command on a data directory and returns what it prints.
func operator(t *testing.T, data string, args ...string) (string, error) {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append(args, "--data", data)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err = cmd.Run(); err != nil {
		return problems.String(), err
	}
	return out.String(), nil
}

func must(t *testing.T, data string, args ...string) string {
	t.Helper()
	out, err := operator(t, data, args...)
	if err != nil {
		t.Fatalf("flint %v: %v: %s", args, err, out)
	}
	return out
}

func TestOperator(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	n, err := node.Launch(t.Context(), node.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	js := runtime(t, n, "node")
	n.Deploy(t, node.Function{ID: "hello", Runtime: js, Entrypoint: "i.js", Execute: []string{"any"}}, nil, map[string]string{
		"i.js": "module.exports = async ({ res, log }) => { log('said\\u001b[2J'); return res.text('ok') }",
	})
	if got := must(t, data, "function", "list"); !strings.Contains(got, "hello."+node.Domain) {
		t.Errorf("function list: %s", got)
	}
	t.Run("what ends is followed", func(t *testing.T) { follows(t, n, data) })
	if got := must(t, data, "executions", "--logs"); strings.Count(got, "| said[2J\n") != 3 || strings.Contains(got, "\x1b") {
		t.Errorf("executions: %q", got)
	}

	must(t, data, "project", "create", "second", "--name", "Second")
	if out, err := operator(t, data, "key", "create", "--scopes", "functions.read"); err == nil || !strings.Contains(out, "second, tests") && !strings.Contains(out, "tests, second") {
		t.Errorf("with two projects one must be named: %v %s", err, out)
	}
	if out, err := operator(t, data, "key", "create", "--project", "second", "--scopes", "no.such"); err == nil || !strings.Contains(out, `no scope "no.such"`) {
		t.Errorf("a scope that is none: %v %s", err, out)
	}
	key := strings.TrimSpace(must(t, data, "key", "create", "--project", "second", "--scopes", "functions.read"))
	second := n.As(key)
	second.Project = "second"
	for name, want := range map[string]int{http.MethodGet: 200, http.MethodPost: 401} {
		if status, _ := second.Do(t.Context(), name, "/v1/functions", map[string]any{"functionId": "f", "name": "f", "runtime": js}, nil); status != want {
			t.Errorf("%s with the new key: %d, want %d", name, status, want)
		}
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}

	// Without a node the same commands work on the data directory.
	var keys []struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(must(t, data, "key", "list", "--project", "second", "-o", "json")), &keys); err != nil || len(keys) != 1 || keys[0].Secret != "" {
		t.Fatalf("keys %v, %v", keys, err)
	}
	must(t, data, "key", "delete", "--project", "second", keys[0].ID)
	if out, err := operator(t, data, "project", "delete", "tests"); err == nil || !strings.Contains(out, "--yes") {
		t.Errorf("deleting without being asked: %v %s", err, out)
	}
	must(t, data, "project", "delete", "tests", "--yes")
	if got := must(t, data, "project", "list", "-o", "json"); strings.Contains(got, `"tests"`) || !strings.Contains(got, `"second"`) {
		t.Errorf("projects: %s", got)
	}
	if out, err := operator(t, data, "executions", "--follow"); err == nil || !strings.Contains(out, "nothing to follow") {
		t.Errorf("following nobody: %v %s", err, out)
	}
	again := node.Start(t, node.Options{Data: data})
	second.Base = again.Base
	if status, _ := second.Do(t.Context(), http.MethodGet, "/v1/functions", nil, nil); status != 401 {
		t.Errorf("a deleted key: %d", status)
	}
	if r, _ := visit(t, again, node.Request{Host: "hello." + node.Domain}); r.Status != 404 {
		t.Errorf("a function of a deleted project: %d", r.Status)
	}
}

// follows calls a function in each way while a command follows.
func follows(t *testing.T, n *node.Node, data string) {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, binary, "executions", "--follow", "-o", "json", "--function", "hello", "--data", data)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // it was killed
	}()
	lines := bufio.NewScanner(out)
	got := map[string]bool{}
	for _, call := range []func() error{
		func() error {
			_, err := n.Visit(ctx, node.Request{Host: "hello." + node.Domain})
			return err
		},
		func() error { _, err := n.Execute(ctx, "hello", node.Call{}); return err },
		func() error { _, err := n.Execute(ctx, "hello", node.Call{Async: true}); return err },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		for before := len(got); len(got) == before; { // one that comes twice is heard once
			if !lines.Scan() {
				t.Fatalf("after %d executions nothing comes: %v", before, lines.Err())
			}
			var e struct{ ID, Status, Logs string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Status != "completed" || e.Logs != "said\x1b[2J\n" {
				t.Fatalf("%v: %s", err, lines.Bytes())
			}
			got[e.ID] = true
		}
	}
}

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"flint/e2e/node"
)

// commandLine is the appwrite-cli of npm in a directory and a home of its own.
type commandLine struct {
	script, dir, home string
}

// do runs a command and reads what it prints as JSON, unless out is nil.
func (c *commandLine) do(ctx context.Context, out any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{c.script}, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = c.dir, append(os.Environ(), "HOME="+c.home), 5*time.Second
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("appwrite %q: %w\n%s%s", args, err, &said, &complained)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(said.Bytes(), out); err != nil {
		return fmt.Errorf("appwrite %q: %w\n%s%s", args, err, &said, &complained)
	}
	return nil
}

// functions runs a command of the group `functions` and fails the test when it fails.
func (c *commandLine) functions(t *testing.T, out any, args ...string) {
	t.Helper()
	if out == nil {
		out = &map[string]any{}
	}
	if err := c.do(t.Context(), out, append(append([]string{"functions"}, args...), "--json")...); err != nil {
		t.Fatal(err)
	}
	t.Logf("functions %s: good", args[0])
}

// TestCommandLine drives the unmodified appwrite-cli of npm with the key of a project, which needs no login.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	c := &commandLine{filepath.Join(installed(t, "cli"), "node_modules/appwrite-cli/index.js"), t.TempDir(), t.TempDir()}
	n := shared.get(t)
	language := runtime(t, n, "node")
	for name, text := range node.Files(t, os.DirFS("testdata/functions/node")) {
		if err := os.MkdirAll(filepath.Join(c.dir, "code"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, "code", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.do(t.Context(), nil, "client", "--endpoint", n.Base+"/v1", "--project-id", node.Project, "--key", node.Key); err != nil {
		t.Fatal(err)
	}

	var f struct {
		ID         string `json:"$id"`
		Deployment string `json:"deploymentId"`
	}
	c.functions(t, &f, "create", "--function-id", "from-cli", "--name", "From the CLI", "--runtime", language, "--execute", "any", "--entrypoint", "main.js", "--commands", "npm install")
	if f.ID != "from-cli" {
		t.Fatalf("made %+v", f)
	}
	var list struct {
		Total      int
		Functions  []struct{ Name string }
		Executions []node.Execution
	}
	c.functions(t, &list, "list", "--search", "from-cli")
	if list.Total != 1 || len(list.Functions) != 1 || list.Functions[0].Name != "From the CLI" {
		t.Errorf("list: %+v", list)
	}
	c.variables(t)

	var d struct {
		ID   string `json:"$id"`
		Type string
	}
	c.functions(t, &d, "create-deployment", "--function-id", "from-cli", "--code", "code", "--activate", "true")
	if d.Type != "cli" {
		t.Errorf("the deployment has the type %s", d.Type)
	}
	if b, err := n.Built(t.Context(), "from-cli", d.ID); err != nil || b.Status != "ready" {
		t.Fatalf("the build: %+v, %v", b, err)
	}
	if c.functions(t, &f, "get", "--function-id", "from-cli"); f.Deployment != d.ID {
		t.Errorf("deployment %q is active, want %s", f.Deployment, d.ID)
	}

	var e node.Execution
	c.functions(t, &e, "create-execution", "--function-id", "from-cli", "--body", "the body", "--xpath", "/p?x=1", "--method", "PUT")
	if want := `{"dependency":172800000,"greeting":"changed","body":"the body","path":"/p"}`; e.Status != "completed" || e.RequestMethod != "PUT" || e.Body != want {
		t.Errorf("the execution: %+v", e)
	}
	c.functions(t, &list, "list-executions", "--function-id", "from-cli")
	if list.Total != 1 || len(list.Executions) != 1 || list.Executions[0].ID != e.ID || list.Executions[0].Logs != "hello from from-cli\n" {
		t.Errorf("list-executions: %+v", list)
	}
	if err := c.do(t.Context(), nil, "functions", "delete", "--function-id", "from-cli", "--force"); err != nil {
		t.Fatal(err)
	}
	if err := c.do(t.Context(), nil, "functions", "get", "--function-id", "from-cli"); err == nil {
		t.Error("the function is still there")
	}
}

// variables runs the commands for variables; GREETING stays, and can be read.
func (c *commandLine) variables(t *testing.T) {
	t.Helper()
	var one struct {
		ID         string `json:"$id"`
		Key, Value string
		Secret     bool
	}
	c.functions(t, &one, "create-variable", "--function-id", "from-cli", "--key", "GREETING", "--value", "hello", "--secret", "false")
	if one.Key != "GREETING" || one.Value != "hello" || one.Secret {
		t.Errorf("create-variable: %+v", one)
	}
	id := one.ID
	c.functions(t, &one, "update-variable", "--function-id", "from-cli", "--variable-id", id, "--key", "GREETING", "--value", "changed")
	c.functions(t, &one, "get-variable", "--function-id", "from-cli", "--variable-id", id)
	if one.Value != "changed" {
		t.Errorf("get-variable: %+v", one)
	}
	c.functions(t, &one, "create-variable", "--function-id", "from-cli", "--key", "SECRET", "--value", "hidden")
	if one.Value != "" || !one.Secret { // secret unless told otherwise
		t.Errorf("create-variable of a secret: %+v", one)
	}
	if err := c.do(t.Context(), nil, "functions", "delete-variable", "--function-id", "from-cli", "--variable-id", one.ID, "--force"); err != nil {
		t.Fatal(err)
	}
	var list struct {
		Total     int
		Variables []struct{ Key string }
	}
	c.functions(t, &list, "list-variables", "--function-id", "from-cli")
	if list.Total != 1 || list.Variables[0].Key != "GREETING" {
		t.Errorf("list-variables: %+v", list)
	}
}

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flint/e2e/node"
)

// cache returns a directory that lasts from run to run, named by what is installed in it.
func cache(t *testing.T, name, content string) string {
	t.Helper()
	root, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	dir := filepath.Join(root, "flint-e2e", name+"-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// once runs an installation that has not been finished in the directory before.
func once(t *testing.T, dir string, install func()) {
	t.Helper()
	done := filepath.Join(dir, ".installed")
	if _, err := os.Stat(done); err == nil {
		return
	}
	install()
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a program, and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// clientEnvironment tells a script where the node is and what it offers.
func clientEnvironment(t *testing.T, n *node.Node) []string {
	t.Helper()
	offered, err := n.Runtimes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	functions, err := filepath.Abs("testdata/functions")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"FLINT_ENDPOINT=" + n.Base + "/v1", "FLINT_PROJECT=" + node.Project, "FLINT_KEY=" + node.Key, "FLINT_FUNCTIONS=" + functions, "FLINT_DOMAIN=" + node.Domain}
	for _, language := range []string{"node", "python", "go"} {
		if offered[language] == "" {
			fmt.Printf("SKIP-LANGUAGE: %s: its toolchain is not on this machine\n", language)
		}
		env = append(env, "FLINT_RUNTIME_"+strings.ToUpper(language)+"="+offered[language])
	}
	return env
}

// installed installs the npm packages of a directory of testdata and returns where they are.
func installed(t *testing.T, name string) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm is not on this machine")
	}
	dir := cache(t, "npm", read(t, name+"/package-lock.json"))
	once(t, dir, func() {
		for _, file := range []string{"package.json", "package-lock.json"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(read(t, name+"/"+file)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run(t, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	})
	return dir
}

// TestNodeSDK drives the unmodified node-appwrite of npm: as a user does, and then every method of Functions and Proxy.
func TestNodeSDK(t *testing.T) {
	t.Parallel()
	dir := installed(t, "sdk")
	n := shared.get(t)
	environment := clientEnvironment(t, n)
	for _, name := range []string{"client.mjs", "methods.mjs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "methods.mjs" {
				runtime(t, n, "node")
			}
			script := filepath.Join(dir, name) // beside its node_modules
			if err := os.WriteFile(script, []byte(read(t, "sdk/"+name)), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Log(run(t, dir, environment, "node", script))
		})
	}
}

// TestPythonSDK drives the unmodified appwrite of PyPI.
func TestPythonSDK(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not on this machine")
	}
	n := shared.get(t)
	requirements := read(t, "sdk/requirements.txt")
	dir := cache(t, "pip", requirements)
	once(t, dir, func() {
		if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), []byte(requirements), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, nil, python, "-m", "venv", "venv")
		run(t, dir, nil, "venv/bin/python", "-m", "pip", "install", "-q", "-r", "requirements.txt")
	})
	script, err := filepath.Abs("testdata/sdk/client.py")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(run(t, dir, clientEnvironment(t, n), filepath.Join(dir, "venv/bin/python"), script))
}

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"flint/e2e/node"
)

// TestOpenAPI has a validator of PyPI judge the document, compares a real answer of every operation with it, and the
// examples of the document with those answers. With -update they become the examples of the next build.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not on this machine")
	}
	n := node.Start(t, node.Options{})
	runtime(t, n, "node")
	requirements := read(t, "openapi/requirements.txt")
	dir := cache(t, "openapi", requirements)
	once(t, dir, func() {
		if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), []byte(requirements), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, nil, python, "-m", "venv", "venv")
		run(t, dir, nil, "venv/bin/python", "-m", "pip", "install", "-q", "-r", "requirements.txt")
	})
	script, err := filepath.Abs("testdata/openapi/check.py")
	if err != nil {
		t.Fatal(err)
	}
	answers := filepath.Join(t.TempDir(), "answers.json")
	env := append(clientEnvironment(t, n), "FLINT_ANSWERS="+answers)
	if *update {
		env = append(env, "FLINT_UPDATE=1")
	}
	t.Log(run(t, dir, env, filepath.Join(dir, "venv/bin/python"), script))
	recorded := readAnswers(t, answers)
	if *update {
		writeExamples(t, recorded)
		return
	}
	compareExamples(t, recorded, describedExamples(t, n))
}

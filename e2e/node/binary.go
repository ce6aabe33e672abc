package node

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// built holds the program of this test process.
type built struct {
	once sync.Once
	dir  string // scratch, when it was built
	path string
	err  error
}

var program built //nolint:gochecknoglobals // one program per test process

// Binary returns the program under test, which it builds at the first call unless FLINT_TEST_BINARY names one.
func Binary() (string, error) {
	program.once.Do(func() { program.path, program.err = program.build() })
	return program.path, program.err
}

func (b *built) build() (string, error) {
	if path := os.Getenv("FLINT_TEST_BINARY"); path != "" { //nolint:forbidigo // of the tests
		return filepath.Abs(path)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if b.dir, err = os.MkdirTemp("", "flint-binary-"); err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "flint")
	build := exec.Command("go", "build", "-o", path, "./cmd/flint") //nolint:noctx // ends by itself
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build flint: %w\n%s", err, out)
	}
	return path, nil
}

// Root returns the directory of the module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// Main is TestMain: it runs the tests and then removes the program that was built for them. The tests mostly wait for
// nodes, so that more of them run at once than there are processors.
func Main(m *testing.M) int {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("8") // a number that the flag takes
	}
	defer func() {
		if program.dir != "" {
			_ = os.RemoveAll(program.dir) // a directory of the system's temporary ones
		}
	}()
	return m.Run()
}

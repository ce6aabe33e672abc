package runtimes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files are the adapters and build scripts as files of the host.
type Files struct{ root string }

// Unpack writes the embedded files below dir, in a folder named by their content, once. An upgrade never runs a
// half-written adapter, and a node that still runs the old ones keeps them.
func Unpack(dir string) (Files, error) {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := files.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n", name, len(raw))
		sum.Write(raw)
		return err
	})
	if err != nil {
		return Files{}, err
	}
	root := filepath.Join(dir, hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(root); err == nil {
		return Files{root}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Files{}, err
	}
	scratch, err := os.MkdirTemp(dir, ".unpack-")
	if err != nil {
		return Files{}, err
	}
	defer os.RemoveAll(scratch)
	if err := os.CopyFS(scratch, files); err != nil {
		return Files{}, err
	}
	if err := makeReadable(scratch); err != nil {
		return Files{}, err
	}
	if err := os.Rename(scratch, root); err != nil {
		if _, there := os.Stat(root); there == nil { // another process was first
			return Files{root}, nil
		}
		return Files{}, err
	}
	return Files{root}, nil
}

// makeReadable gives everybody read access: workers run under user ids of their own.
func makeReadable(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(name, 0o755) //nolint:gosec // see above
		}
		return os.Chmod(name, 0o644) //nolint:gosec // see above
	})
}

// Adapter returns the directory of a language's adapter.
func (f Files) Adapter(l *Language) string { return filepath.Join(f.root, l.Key, "adapter") }

// Hooks returns the directory of a language's build scripts.
func (f Files) Hooks(l *Language) string { return filepath.Join(f.root, l.Key, "build") }

// BuildScript returns the script that every build runs.
func (f Files) BuildScript() string { return filepath.Join(f.root, "build.sh") }

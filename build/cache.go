package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"flint"
)

const (
	ownerEnd  = "@" // between the parts of a cache's name; in no id
	forgotten = ".forgotten-"
)

// cacheOwner is how the names of a function's caches begin, and of nobody else's.
func cacheOwner(project flint.ProjectID, function flint.FunctionID) string {
	return string(project) + ownerEnd + string(function) + ownerEnd
}

// Forget takes the dependency caches of a function away that is gone: another one of that name does not find them. They
// are removed a little later, because that may take long.
func (b *Builder) Forget(project flint.ProjectID, function flint.FunctionID) error {
	return b.forget(func(name string) bool { return strings.HasPrefix(name, cacheOwner(project, function)) })
}

// forget takes the caches away whose names are gone.
func (b *Builder) forget(gone func(name string) bool) error {
	entries, err := os.ReadDir(b.config.CacheDir)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), forgotten) || !gone(e.Name()) {
			continue
		}
		err := os.Rename(filepath.Join(b.config.CacheDir, e.Name()), filepath.Join(b.config.CacheDir, forgotten+flint.NewID()))
		if !errors.Is(err, os.ErrNotExist) { // it was pruned meanwhile
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// forgetOrphans takes the caches of functions away that went while no node ran.
func (b *Builder) forgetOrphans(ctx context.Context) error {
	var failed error
	err := b.forget(func(name string) bool {
		project, rest, _ := strings.Cut(name, ownerEnd)
		function, _, ok := strings.Cut(rest, ownerEnd)
		if !ok || failed != nil {
			return failed == nil
		}
		_, err := b.config.Store.Function(ctx, flint.ProjectID(project), flint.FunctionID(function))
		if errors.Is(err, flint.ErrFunctionNotFound) {
			return true
		}
		failed = err
		return false
	})
	return errors.Join(err, failed)
}

// removeForgotten removes what Forget has taken away. A build that still runs may write to it: what stays because of that
// goes the next time.
func (b *Builder) removeForgotten() error {
	entries, err := os.ReadDir(b.config.CacheDir)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), forgotten) {
			failed = append(failed, os.RemoveAll(filepath.Join(b.config.CacheDir, e.Name())))
		}
	}
	return errors.Join(failed...)
}

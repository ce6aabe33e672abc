package store

import (
	"os"
	"testing"
	"time"

	"flint"
)

// TestCheckpointBesideTheWriter: the log is copied long before the writer would have to do it.
func TestCheckpointBesideTheWriter(t *testing.T) {
	path := t.TempDir() + "/flint.db"
	s, err := Open(t.Context(), Config{Path: path, Secret: secret(1)})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	must(t, s.CreateProject(t.Context(), &flint.Project{ID: "p"}))
	size := func() int64 {
		info, err := os.Stat(path)
		must(t, err)
		return info.Size()
	}
	before := size()
	for range checkpointRows {
		must(t, s.CreateProject(t.Context(), &flint.Project{ID: flint.ProjectID(flint.NewID()), Name: "a name of some length, so that the rows fill pages"}))
	}
	look, end := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer look.Stop()
	for size() == before {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("the database has %d bytes, as before %d writes", before, checkpointRows)
		}
	}
}

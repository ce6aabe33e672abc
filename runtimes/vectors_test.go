package runtimes_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flint/internal/frame"
	"flint/runtimes"
	"flint/runtimes/vectors"
)

// TestVectors plays the conversations against every language whose toolchain is here: with its newest version, or with the
// executable that FLINT_TEST_NODE (and so on) names.
func TestVectors(t *testing.T) {
	conversations, err := vectors.Conversations()
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := runtimes.Open(t.Context(), runtimes.Config{Toolchains: t.TempDir(), Path: os.Getenv("PATH"), Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	offered, err := catalog.Offered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	languages, err := runtimes.Languages()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range languages {
		t.Run(l.Key, func(t *testing.T) {
			executable := os.Getenv("FLINT_TEST_" + strings.ToUpper(strings.ReplaceAll(l.Key, "-", "_")))
			for _, r := range slices.Backward(offered) {
				if r.Language.Key == l.Key {
					executable = cmp.Or(executable, r.Toolchain.Host)
				}
			}
			if executable == "" {
				t.Skipf("no toolchain of %s on PATH", l.Name)
			}
			w := worker(t, l, executable)
			for _, c := range append(slices.Clone(conversations), own(t, l)...) {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					c.Play(t, w)
				})
			}
		})
	}
}

// own returns the conversations that only one language can have.
func own(t *testing.T, l *runtimes.Language) []vectors.Conversation {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.Key, "vectors.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := vectors.Parse(l.Key, raw)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// worker finds the fixture of a language, and builds that of one that compiles.
func worker(t *testing.T, l *runtimes.Language, executable string) *vectors.Worker {
	t.Helper()
	dir, err := filepath.Abs(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	w := &vectors.Worker{Key: l.Key, Compiled: l.Worker.Exec != "", Concurrency: l.Worker.Concurrency, Code: filepath.Join(dir, "fixture")}
	for _, pattern := range []string{"main.*", "index.*", "*/main.*", "*/index.*"} {
		if found, _ := filepath.Glob(filepath.Join(w.Code, pattern)); w.Entrypoint == "" && len(found) > 0 {
			w.Entrypoint, _ = filepath.Rel(w.Code, found[0])
		}
	}
	if w.Entrypoint == "" {
		t.Skipf("%s has no fixture with a main.* or index.* yet", l.Name)
	}
	work := t.TempDir() // the fixture stays clean of what a language leaves beside its sources
	if err := os.CopyFS(work, os.DirFS(w.Code)); err != nil {
		t.Fatal(err)
	}
	w.Code = work
	if w.Compiled {
		build(t, dir, work, executable, w.Entrypoint)
		w.Args = []string{filepath.Join(w.Code, l.Worker.Exec)}
		return w
	}
	expand := strings.NewReplacer("{executable}", executable, "{adapter}", filepath.Join(dir, "adapter"))
	for _, a := range l.Worker.Command {
		w.Args = append(w.Args, expand.Replace(a))
	}
	return w
}

// build runs the language's hooks in the work directory, as a build does.
func build(t *testing.T, dir, work, executable, entrypoint string) {
	t.Helper()
	home, _ := os.UserCacheDir()                                                            // none: the temporary directory serves
	cache := filepath.Join(cmp.Or(home, os.TempDir()), "flint-vectors", filepath.Base(dir)) // a fresh one would compile the standard library every time
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("build.sh")
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "bash", script)
	run.Dir = work
	run.Env = append(os.Environ(), "FLINT_HOOKS="+filepath.Join(dir, "build"), "FLINT_EXECUTABLE="+executable,
		"FLINT_ADAPTER="+filepath.Join(dir, "adapter"), "FLINT_CACHE="+cache, "OPEN_RUNTIMES_ENTRYPOINT="+entrypoint)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("build of the fixture: %v\n%s", err, out)
	}
}

// TestCodecVectors holds internal/frame to the golden bytes that adapters can be tested with, too.
func TestCodecVectors(t *testing.T) {
	v, err := vectors.ReadCodec()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Frames {
		t.Run(f.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(f.Hex)
			if err != nil {
				t.Fatal(err)
			}
			payload := []byte(f.Payload)
			if digits, ok := strings.CutPrefix(f.Payload, "hex:"); ok {
				payload, _ = hex.DecodeString(digits)
			}
			kind := vectors.Type(f.Type)
			encoded := frame.Append(nil, kind, f.Flags, f.ID, payload)
			if f.Head != "" {
				encoded = frame.AppendWithHead(nil, kind, f.Flags, f.ID, []byte(f.Head), []byte(f.Body))
			}
			if !bytes.Equal(encoded, raw) {
				t.Errorf("encoded %x, want %x", encoded, raw)
			}
			h, got, err := frame.Read(bytes.NewReader(raw), nil)
			want := frame.Header{Length: len(raw) - frame.HeaderSize, Type: kind, Flags: f.Flags, ID: f.ID}
			if err != nil || h != want {
				t.Fatalf("Read() = %+v, %v, want %+v", h, err, want)
			}
			if f.Head == "" {
				if !bytes.Equal(got, payload) {
					t.Errorf("payload %q, want %q", got, payload)
				}
				return
			}
			head, body, err := frame.SplitHead(got)
			if err != nil || string(head) != f.Head || string(body) != f.Body {
				t.Errorf("SplitHead() = %q, %q, %v", head, body, err)
			}
		})
	}
	for _, f := range v.Malformed {
		t.Run(f.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(f.Hex)
			if err != nil {
				t.Fatal(err)
			}
			h, payload, err := frame.Read(bytes.NewReader(raw), nil)
			if err == nil && (h.Type == frame.Request || h.Type == frame.Response) {
				_, _, err = frame.SplitHead(payload)
			}
			if !errors.Is(err, frame.ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
		})
	}
}

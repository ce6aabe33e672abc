package sandboxtest

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint/sandbox"
)

func TestFake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &Fake{StartDelay: time.Second, Run: func(ctx context.Context, spec sandbox.Spec, stdin io.Reader) sandbox.Exit {
			b, _ := io.ReadAll(stdin)
			_, _ = spec.Stdout.Write(b)
			if spec.ID == "waits" {
				<-ctx.Done()
			}
			return sandbox.Exit{Code: 3}
		}}
		var out buffer
		begin := time.Now()
		box, err := f.Start(t.Context(), sandbox.Spec{ID: "ends", Stdin: true, Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != time.Second {
			t.Errorf("Start() took %v, want the delay", got)
		}
		_, _ = io.WriteString(box.Stdin(), "hello")
		_ = box.Stdin().Close()
		if diff := cmp.Diff(sandbox.Exit{Code: 3}, box.Exit()); diff != "" {
			t.Errorf("Exit() (-want +got):\n%s", diff)
		}
		if out.String() != "hello" {
			t.Errorf("output = %q", out.String())
		}
		waits, err := f.Start(t.Context(), sandbox.Spec{ID: "waits", Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		waits.Kill()
		if diff := cmp.Diff(sandbox.Exit{Signal: syscall.SIGKILL}, waits.Exit()); diff != "" {
			t.Errorf("Exit() of a killed one (-want +got):\n%s", diff)
		}
		if got := f.Live(); got != 2 {
			t.Errorf("Live() = %d, want 2", got)
		}
		for _, b := range []sandbox.Sandbox{box, waits, waits} {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := f.Live(); got != 0 {
			t.Errorf("Live() = %d, want 0", got)
		}
		broken := errors.New("no room")
		f.StartError = func(sandbox.Spec) error { return broken }
		if _, err := f.Start(t.Context(), sandbox.Spec{}); !errors.Is(err, broken) {
			t.Errorf("Start() = %v, want %v", err, broken)
		}
		if n := len(f.Started()); n != 2 {
			t.Errorf("Started() has %d specs, want 2", n)
		}
	})
}

package worker_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"flint"
	"flint/worker"
)

// TestReceipts looks at what calls took. The scripted adapter is in the test's own process, whose processor time is
// theirs.
func TestReceipts(t *testing.T) {
	t.Parallel()
	b := setup(t, 3, nil)
	target := b.target("d", nil)
	resp, body, err := b.get(t.Context(), target, "/", []byte("1234"))
	if err != nil {
		t.Fatal(err)
	}
	first := resp.Output().Receipt
	if !first.Cold() || first.Run <= 0 || first.CPU < 0 || first.PeakMemory <= 0 || first.Shared || first.RequestBytes != 4 || first.ResponseBytes != int64(len(body)) {
		t.Errorf("the first call: %+v", first)
	}
	large := bytes.Repeat([]byte("y"), 3<<20+17)
	resp, _, err = b.pool.Do(t.Context(), target, &worker.Request{Method: "POST", Path: "/length", Body: large[:100], More: bytes.NewReader(large[100:])})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = resp.Next(t.Context())
	}
	if r := resp.Output().Receipt; r.Cold() || r.Queue != 0 || r.RequestBytes != int64(len(large)) || r.ResponseBytes != 7 {
		t.Errorf("a large body: %+v", r)
	}
	if resp, _, err = b.get(t.Context(), target, "/large?3145729", nil); err != nil || resp.Output().Receipt.ResponseBytes != 3145729 {
		t.Errorf("a large answer: %+v, %v", resp.Output().Receipt, err)
	}
}

func TestReceiptsOfCallsTogether(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, nil)
	target := b.target("d", nil)
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	all := make(chan flint.Receipt, 2)
	for range 2 {
		go func() {
			resp, _, err := b.get(t.Context(), target, "/wait", nil)
			if err != nil {
				t.Error(err)
				all <- flint.Receipt{}
				return
			}
			all <- resp.Output().Receipt
		}()
	}
	waitFor(t, "both calls", func() bool { return b.pool.InFlight() == 2 })
	b.adapter.letGo()
	for range 2 {
		if r := <-all; !r.Shared || r.Cold() {
			t.Errorf("one of two at once: %+v", r)
		}
	}
}

func TestReceiptsOfCallsThatFail(t *testing.T) {
	t.Parallel()
	late := errors.New("too late")
	b := setup(t, 10, nil)
	target := b.target("d", nil)
	_, out, err := b.pool.Do(t.Context(), target, &worker.Request{Path: "/crash", Body: []byte("12")})
	if r := out.Receipt; err == nil || !r.Cold() || r.Run <= 0 || r.RequestBytes != 2 {
		t.Errorf("a crash: %+v, %v", r, err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	_, out, err = b.pool.Do(ctx, target, &worker.Request{Path: "/never"})
	if r := out.Receipt; !errors.Is(err, late) || r.Run <= 0 {
		t.Errorf("a deadline: %+v, %v", r, err)
	}
	b.adapter.failLoad.Store(true)
	_, out, err = b.pool.Do(t.Context(), b.target("e", nil), &worker.Request{Path: "/"})
	if r := out.Receipt; err == nil || !r.Cold() || r.Run != 0 || r.CPU >= 0 || r.PeakMemory >= 0 {
		t.Errorf("a start that failed: %+v, %v", r, err)
	}
}

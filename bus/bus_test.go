package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"flint"
	"flint/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, c bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// cluster starts a server that nodes reach by its URL.
func cluster(t *testing.T, dir string, port int) (*server.Server, string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, Username: "flint", Password: "s3cret",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s, "nats://flint:s3cret@" + s.Addr().String()
}

// within fails a test that waits for what does not come.
func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("it did not come")
	}
	return v
}

func execution(seq int64) *flint.Event {
	return &flint.Event{
		Seq: seq, Project: "shop.eu", CreatedAt: time.UnixMicro(seq).UTC(), Pattern: "functions.[functionId].executions.[executionId].create",
		IDs: []string{"f", fmt.Sprintf("e%d", seq)}, User: "u1", Payload: fmt.Appendf(nil, `{"$id":"e%d"}`, seq),
	}
}

func TestEventsArriveInOrderAndOnce(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	for name, c := range map[string]bus.Config{"embedded": {Dir: t.TempDir()}, "alone": {Dir: t.TempDir(), Alone: true}, "cluster": {URL: url, Alone: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, c)
			if b.Embedded() != (name != "cluster") {
				t.Errorf("embedded: %v", b.Embedded())
			}
			got := make(chan *flint.Event, 1000)
			stop, err := b.Events(t.Context(), func(e *flint.Event) { got <- e })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			var want []*flint.Event
			for i := range int64(300) {
				want = append(want, execution(1_700_000_000_000_000+i))
			}
			for range 2 { // as after an answer that was lost
				if err := b.PublishEvents(t.Context(), want); err != nil {
					t.Fatal(err)
				}
			}
			last := execution(1_700_000_000_000_300)
			if err := b.PublishEvents(t.Context(), []*flint.Event{last}); err != nil {
				t.Fatal(err)
			}
			for _, e := range append(want, last) {
				if diff := cmp.Diff(e, within(t, got)); diff != "" {
					t.Fatalf("event (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestWhatNobodyHears: an event that went onto the stream before would not go there a second time.
func TestWhatNobodyHears(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	for name, c := range map[string]bus.Config{"shared": {Dir: t.TempDir()}, "alone": {Dir: t.TempDir(), Alone: true}, "cluster": {URL: url, Alone: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, c)
			publish := func(seq int64) {
				t.Helper()
				if err := b.PublishEvents(t.Context(), []*flint.Event{execution(seq)}); err != nil {
					t.Fatal(err)
				}
			}
			for round := range int64(2) { // the second after the first follower has gone
				unheard, heard := 1+2*round, 2+2*round
				publish(unheard)
				got := make(chan *flint.Event, 10)
				stop, err := b.Events(t.Context(), func(e *flint.Event) { got <- e })
				if err != nil {
					t.Fatal(err)
				}
				publish(unheard)
				publish(heard)
				want := []int64{heard}
				if name == "alone" {
					want = []int64{unheard, heard}
				}
				for _, seq := range want {
					if e := within(t, got); e.Seq != seq {
						t.Errorf("event %d arrives, want %d", e.Seq, seq)
					}
				}
				stop()
			}
		})
	}
}

func TestSubjectsOfEvents(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	b := open(t, bus.Config{URL: url})
	outside, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	messages := make(chan *nats.Msg, 10)
	for _, subject := range []string{"flint.events.shop=eu.functions.executions.*", "flint.dead.>"} {
		if _, err := outside.ChanSubscribe(subject, messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := outside.Flush(); err != nil {
		t.Fatal(err)
	}
	large := execution(2)
	large.Payload = make([]byte, 2<<20) // more than this server takes
	if err = b.PublishEvents(t.Context(), []*flint.Event{execution(1), large}); err != nil {
		t.Fatal(err)
	}
	if err := b.PublishDead(t.Context(), "shop.eu", "d1", []byte(`{"why":"it failed"}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ subject, data, omitted string }{
		{"flint.events.shop=eu.functions.executions.create", `{"$id":"e1"}`, ""},
		{"flint.events.shop=eu.functions.executions.create", "", "omitted"},
		{"flint.dead.shop=eu", `{"why":"it failed"}`, ""},
	} {
		m := within(t, messages)
		if m.Subject != want.subject || string(m.Data) != want.data || m.Header.Get("Flint-Payload") != want.omitted {
			t.Errorf("%s %s %q, want %+v", m.Subject, m.Data, m.Header, want)
		}
	}
}

func TestRingsAndChangesReachOtherNodes(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	a, b := open(t, bus.Config{URL: url}), open(t, bus.Config{URL: url})
	here, there, other := a.Bell("calls"), b.Bell("calls"), b.Bell("builds")
	a.Ring("calls")
	select {
	case <-here:
	default:
		t.Error("a ring is not heard at once where it is made")
	}
	within(t, there)
	mine, theirs := make(chan string, 10), make(chan string, 10)
	a.OnChange(func(c []byte) { mine <- string(c) })
	b.OnChange(func(c []byte) { theirs <- string(c) })
	live := make(chan *flint.Event, 10)
	a.OnLive(func(e *flint.Event) { live <- e })
	a.PublishChange([]byte(`{"Kind":"function"}`))
	if got := within(t, theirs); got != `{"Kind":"function"}` {
		t.Errorf("change %s", got)
	}
	a.PublishLive(execution(1)) // comes back to a, after its own change would have
	if e := within(t, live); e.Project != "shop.eu" || e.IDs[1] != "e1" || e.Payload != nil || time.Since(e.CreatedAt) > time.Minute {
		t.Errorf("live event %+v", e)
	}
	if len(mine) > 0 || len(other) > 0 {
		t.Error("an own change was heard, or a bell of another name")
	}
	select {
	case <-here:
		t.Error("an own ring was heard twice")
	default:
	}
}

// TestAClusterThatIsAway plays the whole life: there at no time, there, away, there again.
func TestAClusterThatIsAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, url := cluster(t, dir, -1)
	var at int
	if _, err := fmt.Sscanf(s.Addr().String(), "127.0.0.1:%d", &at); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()

	registry := prometheus.NewRegistry()
	b := open(t, bus.Config{URL: url, Registry: registry})
	bell := b.Bell("calls")
	b.Ring("calls")
	within(t, bell)
	for range 10_000 { // more than is kept for later
		b.PublishChange([]byte("{}"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.PublishEvents(ctx, []*flint.Event{execution(1)}); err == nil {
		t.Error("an event was published nowhere")
	}
	if n, err := testutil.GatherAndCount(registry, "flint_bus_publish_errors_total"); err != nil || n == 0 {
		t.Errorf("%d kinds of errors counted, %v", n, err)
	}

	missed := make(chan []byte, 100)
	b.OnChange(func(c []byte) { missed <- c })
	publish := func() {
		t.Helper()
		var err error
		for begin := time.Now(); time.Since(begin) < 20*time.Second; {
			if err = b.PublishEvents(t.Context(), []*flint.Event{execution(1)}); err == nil {
				return
			}
		}
		t.Fatal(err)
	}
	s, _ = cluster(t, dir, at)
	publish()
	s.Shutdown()
	s.WaitForShutdown()
	cluster(t, dir, at)
	publish()
	for within(t, missed) != nil {
		continue // until it is told that it may have missed some
	}
	within(t, bell)
}

func TestALostDirectoryLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bus")
	b, err := bus.Open(t.Context(), bus.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PublishEvents(t.Context(), []*flint.Event{execution(1), execution(2)}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := bus.Size(dir); err != nil || n == 0 {
		t.Errorf("it holds %d bytes, %v", n, err)
	}
	// Every file is damaged: the node starts all the same.
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.WriteFile(name, []byte("damaged"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err = bus.Open(t.Context(), bus.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PublishEvents(t.Context(), []*flint.Event{execution(1), execution(2)}); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	// A file is where the directory was.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if n, err := bus.Size(dir); err != nil || n != 0 {
		t.Errorf("without a directory: %d bytes, %v", n, err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, bus.Config{Dir: dir})
}

func TestStreamsAreWhatTheTableSays(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	// An older version made one of them smaller.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"flint.events.>"}, MaxMsgs: 5}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	open(t, bus.Config{URL: url, Registry: registry})
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if n, _ := testutil.GatherAndCount(registry, "flint_bus_stream_bytes"); n == len(bus.Streams()) {
			break
		}
	}
	for _, s := range bus.Streams() {
		found, err := js.Stream(t.Context(), s.Name)
		if err != nil {
			t.Fatal(err)
		}
		c := found.CachedInfo().Config
		if c.MaxMsgs != s.MaxMsgs || c.MaxBytes != s.MaxBytes || c.MaxAge != s.MaxAge || c.Storage != s.Storage || c.Duplicates != s.Duplicates || c.Replicas != 1 {
			t.Errorf("%s is %+v", s.Name, c)
		}
		if s.MaxBytes <= 0 || s.MaxAge <= 0 || s.MaxMsgs <= 0 || s.Why == "" {
			t.Errorf("%s has no bound, or no reason", s.Name)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	_, url := cluster(t, t.TempDir(), -1)
	if what, err := bus.Probe(t.Context(), url); err != nil || !strings.Contains(what, "NATS 2.") {
		t.Errorf("%s, %v", what, err)
	}
	for _, url := range []string{strings.Replace(url, "s3cret", "guessed", 1), "nats://flint:s3cret@127.0.0.1:1", "nats://flint:s3cret@[::1"} {
		_, err := bus.Probe(t.Context(), url)
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "guessed") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := bus.Open(t.Context(), bus.Config{URL: "nats://flint:s3cret@[::1"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a URL that is none: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("1", "p", "functions.[functionId].executions.[executionId].create", "f,e", "")
	f.Add("1", "p", "functions.[functionId].update.name", "f", "u")
	f.Add("-1", "", "[x].functions..", ",", "")
	f.Fuzz(func(t *testing.T, seq, project, pattern, ids, user string) {
		e, err := bus.Decode(nats.Header{"Flint-Seq": {seq}, "Flint-Project": {project}, "Flint-Pattern": {pattern}, "Flint-Ids": {ids}, "Flint-User": {user}}, nil)
		if err != nil {
			return
		}
		if names := e.Names(); len(names) == 0 { // panics when the pattern does not fit
			t.Errorf("%+v has no name", e)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	opened := open(b, bus.Config{Dir: b.TempDir()})
	b.Run("one event", func(b *testing.B) {
		for i := int64(1); b.Loop(); i++ {
			if err := opened.PublishEvents(b.Context(), []*flint.Event{execution(i)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("a ring", func(b *testing.B) {
		for b.Loop() {
			opened.Ring("calls")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		opened, err := bus.Open(b.Context(), bus.Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := opened.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

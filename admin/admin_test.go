package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/client"
	"flint/explain"
	"flint/feed"
	"flint/store"
)

func setup(t *testing.T, runs *feed.Feed) (*client.Client, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: bytes.Repeat([]byte{1}, 32), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, err := range []error{
		s.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "P"}),
		s.CreateFunction(t.Context(), &flint.Function{Project: "p", ID: "f", Name: "F", Runtime: "node-22"}, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	collect := func(context.Context, ...string) error { return nil }
	return client.Local(New(Config{Store: s, Explainer: explain.New(explain.Config{Store: s}), Logger: slog.New(slog.DiscardHandler), Feed: runs, Collect: collect})), s
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c, s := setup(t, nil)
	ctx := t.Context()
	project := func(id string) error { _, err := c.CreateProject(ctx, client.Project{ID: id}); return err }
	key := func(k client.Key) error { _, err := c.CreateKey(ctx, k); return err }
	executions := func(project, function string, limit int) error {
		_, err := c.Executions(ctx, project, function, limit)
		return err
	}
	for name, x := range map[string]struct {
		err  error
		typ  string
		says string
	}{
		"a project in capitals":        {project("Shop"), "general_argument_invalid", `"Shop"`},
		"a project with a long name":   {project(strings.Repeat("a", 37)), "general_argument_invalid", "at most 36"},
		"the console":                  {project("console"), "general_argument_invalid", "console"},
		"a project twice":              {project("p"), "project_already_exists", ""},
		"keys of no project":           {key(client.Key{Project: "nope"}), "project_not_found", "nope"},
		"a scope that is none":         {key(client.Key{Project: "p", Scopes: []string{"functions.read", "all"}}), "general_argument_invalid", `"all"`},
		"a key that has expired":       {key(client.Key{Project: "p", ExpireAt: time.Now().Add(-time.Second)}), "general_argument_invalid", "expired"},
		"too many executions":          {executions("p", "", 1001), "general_argument_invalid", "between 0 and 1000"},
		"fewer executions than none":   {executions("p", "", -1), "general_argument_invalid", "between 0 and 1000"},
		"executions of no function":    {executions("p", "nope", 1), "function_not_found", ""},
		"executions of no project":     {executions("nope", "", 1), "project_not_found", "nope"},
		"following where nothing runs": {c.Follow(ctx, "p", "", 0, nil), "general_bad_request", "nothing to follow"},
		"no key":                       {c.DeleteKey(ctx, "p", "nope"), "key_not_found", ""},
	} {
		var refused *client.Error
		if !errors.As(x.err, &refused) || refused.Type != x.typ || !strings.Contains(refused.Message, x.says) {
			t.Errorf("%s: %#v, want %s %q", name, x.err, x.typ, x.says)
		}
	}
	if keys, err := s.Keys(ctx, "p"); err != nil || len(keys) != 0 {
		t.Errorf("there are keys %v, %v", keys, err)
	}
}

func TestWhatFailsIsToldAndLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := &admin{config: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	w := httptest.NewRecorder()
	a.refuse(w, fmt.Errorf("read the disk: %w", errors.New("it is gone")))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "read the disk: it is gone") || !strings.Contains(log.String(), "it is gone") {
		t.Errorf("%d %s, logged %s", w.Code, w.Body, log.String())
	}
}

func TestFollowersGetWhatTheyAskedFor(t *testing.T) {
	t.Parallel()
	runs := &feed.Feed{}
	_, s := setup(t, runs)
	server := httptest.NewServer(New(Config{Store: s, Explainer: explain.New(explain.Config{Store: s}), Logger: slog.New(slog.DiscardHandler), Feed: runs, Collect: func(context.Context, ...string) error { return nil }}))
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/projects/p/executions/follow?function=f&limit=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r) // answered when the follower has been taken
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, e := range []*flint.Execution{
		{Project: "other", Function: "f", ID: "a"}, {Project: "p", Function: "g", ID: "b"}, {Project: "p", Function: "f", ID: "c"},
	} {
		runs.Publish(e)
	}
	line := make([]byte, 10)
	if _, err := io.ReadFull(resp.Body, line); err != nil || string(line) != `{"id":"c",` {
		t.Errorf("got %s, %v", line, err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var f feed.Feed
	c, _ := setup(t, &f)
	for name, x := range map[string]struct {
		filter client.TailFilter
		says   string
	}{
		"a function that is none": {client.TailFilter{Functions: []string{"f", "nope"}}, "There is no function nope in project p."},
		"a status that is none":   {client.TailFilter{Statuses: []string{"waiting"}}, "status must be completed or failed."},
		"a trigger that is none":  {client.TailFilter{Triggers: []string{"x"}}, "trigger must be http, schedule or event."},
		"a long text":             {client.TailFilter{Text: strings.Repeat("x", 257)}, "text must be at most 256 bytes."},
	} {
		if err := c.Tail(t.Context(), "p", x.filter, nil); err == nil || err.Error() != x.says {
			t.Errorf("%s: %v", name, err)
		}
	}
	idle, _ := setup(t, nil)
	if err := idle.Tail(t.Context(), "p", client.TailFilter{}, nil); err == nil || !strings.Contains(err.Error(), "nothing to follow") {
		t.Errorf("where nothing runs: %v", err)
	}
}

func TestTailOverASocket(t *testing.T) {
	t.Parallel()
	var f feed.Feed
	_, s := setup(t, nil)
	server := httptest.NewServer(New(Config{Store: s, Explainer: explain.New(explain.Config{Store: s}), Logger: slog.New(slog.DiscardHandler), Feed: &f, Collect: func(context.Context, ...string) error { return nil }}))
	defer server.Close()
	resp, err := http.Get(server.URL + "/projects/p/tail?function=f&trigger=event")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	e := &flint.Execution{Project: "p", Function: "f", ID: "e", Trigger: flint.TriggerEvent, Status: flint.ExecutionCompleted}
	f.Log(e, false, []byte("said\n"))
	f.Publish(e)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(resp.Body) // ends with the feed
	if got := string(all); err != nil || strings.Count(got, "\n") != 2 || !strings.Contains(got, `"text":"said\n"`) || !strings.Contains(got, `"event":"execution"`) {
		t.Errorf("%s, %v", got, err)
	}
}

// Package conformance holds the contract between Flint and functions as one table of cases, which is played for every
// language that has a fixture and a toolchain on this machine: through executions of the API and through the function's
// own domain, on a node that is started as users start it.
package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flint/e2e/node"
)

func TestMain(m *testing.M) { os.Exit(node.Main(m)) }

// subject is a deployed fixture.
type subject struct {
	*language
	node     *node.Node
	function *node.Function
}

// exchange is one call, whatever way it takes.
type exchange struct {
	action  string
	method  string // [GET]
	path    string // [/]
	headers map[string]string
	body    string
	host    string // Host header; {host} stands for the function's domain
}

// answer is what came of it.
type answer struct {
	*node.Execution
	status  int
	body    string
	page    bool // the body is a page of the platform's: the function's own was empty
	headers http.Header
	logs    string
	errors  string
}

// way is how a call gets to a function.
type way struct {
	name string
	call func(context.Context, *subject, exchange) (*answer, error)
}

var ways = []way{{"execution", byExecution}, {"domain", byDomain}}

func (x *exchange) fields() map[string]string {
	fields := map[string]string{}
	if x.action != "" {
		fields["x-action"] = x.action
	}
	maps.Copy(fields, x.headers)
	return fields
}

func byExecution(ctx context.Context, s *subject, x exchange) (*answer, error) {
	call := node.Call{Body: x.body, Path: x.path, Method: x.method, Headers: x.fields()}
	if x.host != "" {
		call.Headers["host"] = strings.ReplaceAll(x.host, "{host}", s.function.Domain())
	}
	if call.Method == "" {
		call.Method = http.MethodGet
	}
	e, err := s.node.Execute(ctx, s.function.ID, call)
	if err != nil {
		return nil, err
	}
	a := &answer{Execution: e, status: e.Code, body: e.Body, headers: http.Header{}, logs: e.Logs, errors: e.Errors}
	for _, h := range e.ResponseHeaders {
		a.headers.Add(h.Name, h.Value)
	}
	stored, err := s.node.Execution(ctx, s.function.ID, e.ID)
	if err != nil {
		return nil, err
	}
	if stored.Logs != e.Logs || stored.Errors != e.Errors || stored.Status != e.Status || stored.Code != e.Code || stored.Body != "" {
		return nil, fmt.Errorf("the stored execution is %+v, the answered one %+v", stored, e)
	}
	return a, nil
}

func byDomain(ctx context.Context, s *subject, x exchange) (*answer, error) {
	q := node.Request{Host: s.function.Domain(), Method: x.method, Path: x.path, Headers: x.fields()}
	if x.host != "" {
		q.Host = strings.ReplaceAll(x.host, "{host}", s.function.Domain())
	}
	if x.body != "" {
		q.Body = strings.NewReader(x.body)
	}
	r, err := s.node.Visit(ctx, q)
	if err != nil {
		return nil, err
	}
	a := &answer{status: r.Status, body: string(r.Body), headers: r.Headers}
	if strings.Contains(r.Headers.Get("Content-Type"), "text/html") && strings.HasPrefix(strings.ToLower(a.body), "<!doctype html") {
		a.page = true
	}
	if r.ExecutionID() == "" {
		return a, nil
	}
	if a.Execution, err = s.node.Execution(ctx, s.function.ID, r.ExecutionID()); err != nil {
		return nil, err
	}
	a.logs, a.errors = a.Logs, a.Errors
	if a.Code != a.status {
		return nil, fmt.Errorf("the domain answered %d, the execution says %d", a.status, a.Code)
	}
	return a, nil
}

// fixtures returns the directories of the fixtures by language.
func fixtures(t testing.TB) map[string]string {
	t.Helper()
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(root, "runtimes", "*", "fixture"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no fixtures found (%v)", err)
	}
	found := map[string]string{}
	for _, dir := range dirs {
		found[filepath.Base(filepath.Dir(dir))] = dir
	}
	return found
}

func TestConformance(t *testing.T) {
	n := node.Start(t, node.Options{})
	offered, err := n.Runtimes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dirs := fixtures(t)
	t.Run("languages", func(t *testing.T) {
		for _, key := range slices.Sorted(maps.Keys(dirs)) {
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				l, ok := languages[key]
				switch {
				case offered[key] == "":
					fmt.Printf("SKIP-LANGUAGE: %s: its toolchain is not on this machine\n", key)
					t.Skip("its toolchain is not on this machine")
				case !ok:
					t.Fatal("the language has no row in languages_test.go")
				}
				l.key, l.runtime = key, offered[key]
				play(t, n, &l, node.Files(t, os.DirFS(dirs[key])))
			})
		}
	})
}

// play deploys the fixture of a language and plays the cases: those that leave it as it is all at once, then those that
// would disturb their neighbours, then deployments that cannot work. It is one function throughout, as it is for users.
func play(t *testing.T, n *node.Node, l *language, files map[string]string) {
	f := n.Deploy(t, node.Function{
		ID: l.key, Runtime: l.runtime, Entrypoint: l.entrypoint, Commands: l.commands, Timeout: steadyTimeout,
		Execute: []string{"any"}, Scopes: []string{"functions.read"},
	}, map[string]string{"CUSTOM_ENV_VAR": "customValue"}, files)
	s := &subject{l, n, f}
	t.Run("calls", func(t *testing.T) {
		for i := range cases {
			c := &cases[i]
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.play(t, s)
			})
		}
	})
	for i := range roughCases {
		c := &roughCases[i]
		t.Run(c.name, func(t *testing.T) { c.play(t, s) })
	}
	for i := range deadlineCases {
		c := &deadlineCases[i]
		t.Run(c.name, func(t *testing.T) {
			s.setTimeout(t, 2)
			c.play(t, s)
			s.setTimeout(t, steadyTimeout)
		})
	}
	for _, c := range settingCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
	for _, b := range l.broken {
		t.Run(b.name, func(t *testing.T) { b.play(t, s) })
	}
}

// steadyTimeout is for calls that are not about time, on machines that are busy.
const steadyTimeout = 30

func (s *subject) setTimeout(t *testing.T, seconds int) {
	t.Helper()
	s.function.Timeout = seconds
	if err := s.node.Update(t.Context(), *s.function); err != nil {
		t.Fatal(err)
	}
}

// play deploys what cannot work and looks at who says so: the build, or every call.
func (b *broken) play(t *testing.T, s *subject) {
	d := s.node.Redeploy(t, s.function, b.entrypoint, b.files)
	if b.build != "" {
		if d.Status != "failed" || !strings.Contains(d.Logs, b.build) {
			t.Errorf("the build is %s, want failed with %q; its log:\n%s", d.Status, b.build, d.Logs)
		}
		works(t, s) // the deployment before it stays
		return
	}
	if d.Status != "ready" {
		t.Fatalf("the build is %s; its log:\n%s", d.Status, d.Logs)
	}
	for _, w := range ways {
		for range 2 { // the load is tried again and fails in the same way
			a, err := w.call(t.Context(), s, exchange{})
			if err != nil {
				t.Fatal(err)
			}
			if a.status != 503 || a.Status != "failed" || !strings.Contains(a.errors, b.errors) || a.body != "" && !a.page {
				t.Errorf("by %s: %d %s, body %.100q, errors %q; want 503 failed, no body, errors with %q", w.name, a.status, a.Status, a.body, a.errors, b.errors)
			}
		}
	}
}

// testCase is one row of the contract.
type testCase struct {
	name string
	exchange
	only    string // the way that it makes sense on; empty: both
	skip    func(*language) bool
	status  int // [200]
	want    func(*language) string
	body    *string           // exact; of errors: the function's own, not the page
	headers map[string]string // exact values; an empty one: not there
	logs    *string           // exact
	errors  *string
	check   func(t *testing.T, s *subject, a *answer)
}

func is(s string) *string { return &s }

// calls bounds one call of a test.
const callTimeout = 40 * time.Second

func (c *testCase) play(t *testing.T, s *subject) {
	if c.skip != nil && c.skip(s.language) {
		t.Skip("not possible in this language")
	}
	for _, w := range ways {
		if c.only != "" && c.only != w.name {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
			defer cancel()
			a, err := w.call(ctx, s, c.exchange)
			if err != nil {
				t.Fatal(err)
			}
			c.compare(t, s, a)
		})
	}
}

func (c *testCase) compare(t *testing.T, s *subject, a *answer) {
	t.Helper()
	want := c.status
	if want == 0 {
		want = 200
	}
	if a.status != want {
		t.Errorf("status %d, want %d; body %.300q, errors %.2000q", a.status, want, a.body, a.errors)
	}
	if a.Execution == nil {
		t.Fatal("there is no execution")
	}
	if outcome := choose(a.status >= 500, "failed", "completed"); a.Status != outcome {
		t.Errorf("the execution is %s, want %s", a.Status, outcome)
	}
	body := c.body
	if c.want != nil {
		body = is(c.want(s.language))
	}
	if body != nil && a.body != *body && !(*body == "" && a.page && a.status >= 400) {
		t.Errorf("body %.300q, want %.300q", a.body, *body)
	}
	for name, value := range c.headers {
		if got := a.headers.Get(name); got != value {
			t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
	if c.logs != nil && a.logs != *c.logs {
		t.Errorf("logs %.300q, want %.300q", a.logs, *c.logs)
	}
	if c.errors != nil && a.errors != *c.errors {
		t.Errorf("errors %.2000q, want %.300q", a.errors, *c.errors)
	}
	if c.check != nil {
		c.check(t, s, a)
	}
}

// object reads a JSON object.
func (a *answer) object(t *testing.T) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		t.Fatalf("the body is no JSON object: %v: %.300q", err, a.body)
	}
	return o
}

package conformance

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"flint/e2e/node"
)

// roughCases need the function for themselves: they are played one after the other.
var roughCases = []testCase{
	{name: "state lasts from call to call", exchange: exchange{action: "counter"}, check: func(t *testing.T, s *subject, a *answer) {
		before, err := strconv.Atoi(a.body)
		if err != nil {
			t.Fatal(err)
		}
		next, err := byExecution(t.Context(), s, exchange{action: "counter"})
		if err != nil {
			t.Fatal(err)
		}
		if next.body != strconv.Itoa(before+1) {
			t.Errorf("the counter went from %d to %s", before, next.body)
		}
	}},
	nativeLogs("native logs of a call alone", nil),
	{name: "a crash", exchange: exchange{action: "crash"}, status: 500, body: is(""), check: func(t *testing.T, s *subject, a *answer) {
		if !strings.Contains(a.errors, "exit status 7") {
			t.Errorf("errors %q, want exit status 7 named", a.errors)
		}
		works(t, s)
	}},
}

// deadlineCases are played like those, with a timeout of two seconds.
var deadlineCases = []testCase{
	{name: "a timeout", exchange: exchange{action: "timeout"}, status: 500, body: is(""), check: func(t *testing.T, s *subject, a *answer) {
		exactLine(t, "errors", a.errors, "Execution timed out.")
		exactLine(t, "logs", a.logs, "Timeout start.")
		if a.Duration < 1.5 || a.Duration > 4.5 {
			t.Errorf("duration %.1f s, want about 2", a.Duration)
		}
		s.setTimeout(t, steadyTimeout) // a new worker may be needed, on a busy machine
		works(t, s)
		s.setTimeout(t, 2)
	}},
	{name: "a loop without end", exchange: exchange{action: "spin"}, status: 500, body: is(""), check: func(t *testing.T, s *subject, a *answer) {
		if !strings.Contains(a.errors, "Execution timed out.") {
			t.Errorf("errors %q, want the timeout named", a.errors)
		}
		s.setTimeout(t, steadyTimeout) // a new worker may be needed, on a busy machine
		works(t, s)
		s.setTimeout(t, 2)
	}},
}

// works checks that the next call is fine.
func works(t *testing.T, s *subject) {
	t.Helper()
	a, err := byExecution(t.Context(), s, exchange{})
	if err != nil {
		t.Fatal(err)
	}
	if a.status != 200 || a.body != "Hello World 👋" || a.logs != "" || a.errors != "" {
		t.Errorf("the next call: %d %q, logs %q, errors %q", a.status, a.body, a.logs, a.errors)
	}
}

// settingCase changes the settings of the function. Each leaves them as it found them.
type settingCase struct {
	name   string
	change func(*node.Function)
	check  func(t *testing.T, s *subject)
}

func (c settingCase) run(t *testing.T, s *subject) {
	before := *s.function
	changed := before
	c.change(&changed)
	if err := s.node.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	c.check(t, s)
	if err := s.node.Update(t.Context(), before); err != nil {
		t.Fatal(err)
	}
}

var settingCases = []settingCase{
	{"any may execute, and does not see logs", func(*node.Function) {}, func(t *testing.T, s *subject) {
		e, err := s.node.As("").Execute(t.Context(), s.function.ID, node.Call{Headers: map[string]string{"x-action": "logs"}})
		if err != nil || e.Code != 200 || e.Logs != "" || e.Errors != "" {
			t.Errorf("a guest's execution: %+v, %v; want 200 without logs", e, err)
		}
	}},
	{"nobody may execute", func(f *node.Function) { f.Execute = []string{} }, func(t *testing.T, s *subject) {
		refused(t, s, 401, "user_unauthorized", 401, "function_execute_permission_missing")
		works(t, s)
	}},
	{"users may execute", func(f *node.Function) { f.Execute = []string{"users"} }, func(t *testing.T, s *subject) {
		refused(t, s, 401, "user_unauthorized", 401, "function_execute_permission_missing")
	}},
	{"disabled", func(f *node.Function) { f.Enabled = false }, func(t *testing.T, s *subject) {
		refused(t, s, 404, "function_not_found", 404, "function_not_found")
		works(t, s)
	}},
	{"without logging", func(f *node.Function) { f.Logging = false }, func(t *testing.T, s *subject) {
		for _, w := range ways {
			for _, action := range []string{"logs", "nativeLogs", "exception"} {
				a, err := w.call(t.Context(), s, exchange{action: action})
				if err != nil {
					t.Fatal(err)
				}
				if a.logs != "" || a.errors != "" || (a.status == 500) != (action == "exception") {
					t.Errorf("%s by %s: %d, logs %q, errors %q; want none", action, w.name, a.status, a.logs, a.errors)
				}
			}
		}
	}},
}

// refused checks that a guest can call the function neither way.
func refused(t *testing.T, s *subject, status int, typ string, domainStatus int, domainType string) {
	t.Helper()
	_, err := s.node.As("").Execute(t.Context(), s.function.ID, node.Call{})
	var failed *node.Error
	if !errors.As(err, &failed) || failed.Status != status || failed.Type != typ {
		t.Errorf("a guest's execution: %v, want %d %s", err, status, typ)
	}
	a, err := byDomain(t.Context(), s, exchange{})
	if err != nil {
		t.Fatal(err)
	}
	if a.status != domainStatus || !a.page || !strings.Contains(a.body, domainType) || a.Execution != nil {
		t.Errorf("the domain: %d %.300q, want a page with %d %s and no execution", a.status, a.body, domainStatus, domainType)
	}
}

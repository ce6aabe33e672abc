package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"flint"
)

// ClaimExecution claims one call.
func (s *Store) ClaimExecution(ctx context.Context, node string, lease time.Duration) (*flint.Execution, *QueuedCall, error) {
	claims, err := s.ClaimExecutions(ctx, node, lease, 1)
	if err != nil || len(claims) == 0 {
		return nil, nil, err
	}
	return claims[0].Execution, claims[0].Call, nil
}

// finish ends an attempt that answered, and reports whether that counted.
func (s *Store) finish(ctx context.Context, e *flint.Execution, attempt int64) (bool, error) {
	settled, err := s.FinishExecution(ctx, e, Ending{Attempt: attempt, Outcome: flint.OutcomeAnswered})
	return settled == SettledEnded, err
}

// accept enqueues a call and returns its execution.
func (s *bundle) accept(t *testing.T, id string, c QueuedCall) *flint.Execution {
	t.Helper()
	e := &flint.Execution{Project: "p", Function: "f", ID: flint.ExecutionID(id), Trigger: flint.TriggerHTTP, RequestMethod: "POST", RequestPath: "/" + id}
	c.Method, c.Path = "POST", "/"+id
	must(t, s.EnqueueExecution(t.Context(), e, &c))
	return e
}

// end ends the attempt of a claim.
func (s *bundle) end(t *testing.T, c Claim, o flint.Outcome) Settled {
	t.Helper()
	e := c.Execution
	e.Status, e.StatusCode, e.Errors = flint.ExecutionFailed, 500, "it ended with "+string(o)
	if o == flint.OutcomeAnswered {
		e.Status, e.StatusCode, e.Errors = flint.ExecutionCompleted, 200, ""
	}
	return value[Settled](t)(s.FinishExecution(t.Context(), e, Ending{Attempt: c.Call.Attempt, Outcome: o, Body: []byte("answer")}))
}

func (s *bundle) claims(t *testing.T, limit int) []Claim {
	t.Helper()
	return value[[]Claim](t)(s.ClaimExecutions(t.Context(), "n", time.Minute, limit))
}

// claimNext claims one call when it becomes due.
func (s *bundle) claimNext(t *testing.T) Claim {
	t.Helper()
	for {
		if c := s.claims(t, 1); len(c) > 0 {
			return c[0]
		}
		at := value[time.Time](t)(s.NextDue(t.Context()))
		if at.IsZero() {
			t.Fatal("nothing will be due")
		}
		timer := time.NewTimer(time.Until(at))
		<-timer.C
	}
}

func (s *bundle) deliver(t *testing.T, d flint.Delivery) {
	t.Helper()
	_, err := s.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { f.Delivery = d; return nil })
	must(t, err)
}

func claimed(claims []Claim) (all []string) {
	for _, c := range claims {
		all = append(all, string(c.Execution.ID))
	}
	return all
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var told []*flint.DeadLetter
	s.config.Died = func(d *flint.DeadLetter) { told = append(told, d) }
	s.deliver(t, flint.Delivery{MaxAttempts: 3, MaxBackoff: 1, RetryOn: []flint.Outcome{flint.OutcomeError, flint.OutcomeLost}, DeadLetters: true})
	s.accept(t, "e", QueuedCall{Body: []byte("body"), Expires: now().Add(time.Hour)})
	for n, o := range []flint.Outcome{flint.OutcomeError, flint.OutcomeLost} {
		c := s.claimNext(t)
		if c.Call.Tries != n || c.Call.Attempt != int64(n+1) || string(c.Call.Body) != "body" {
			t.Errorf("claim %d: %+v", n, c.Call)
		}
		if o == flint.OutcomeLost {
			reborn(s.Store)
			if n, err := s.SettleExecutions(t.Context(), "n", time.Now(), "the node died"); n != 1 || err != nil {
				t.Errorf("SettleExecutions() = %d, %v", n, err)
			}
			if got := s.end(t, c, flint.OutcomeAnswered); got != SettledLate {
				t.Errorf("the late result of a lost attempt: %v", got)
			}
		} else if got := s.end(t, c, o); got != SettledAgain {
			t.Errorf("attempt %d: %v, want another", n, got)
		}
		e := value[*flint.Execution](t)(s.Execution(t.Context(), "p", "f", "e"))
		if e.Status != flint.ExecutionWaiting || e.StatusCode != 0 || !strings.Contains(e.Errors, fmt.Sprintf("Attempt %d of 3 ended with %s", n+1, o)) {
			t.Errorf("between attempts: %s %d %q", e.Status, e.StatusCode, e.Errors)
		}
	}
	if got := s.end(t, s.claimNext(t), flint.OutcomeError); got != SettledEnded {
		t.Errorf("the last attempt: %v", got)
	}
	e := value[*flint.Execution](t)(s.Execution(t.Context(), "p", "f", "e"))
	if e.Status != flint.ExecutionFailed || e.StatusCode != 500 || !strings.HasSuffix(e.Errors, "All 3 attempts have failed.") {
		t.Errorf("in the end: %s %d %q", e.Status, e.StatusCode, e.Errors)
	}
	attempts := value[[]flint.Attempt](t)(s.Attempts(t.Context(), "e"))
	var outcomes []flint.Outcome
	for i, a := range attempts {
		if a.Number != i+1 || a.Node != "n" {
			t.Errorf("attempt %+v", a)
		}
		outcomes = append(outcomes, a.Outcome)
	}
	diff(t, "outcomes", outcomes, []flint.Outcome{flint.OutcomeError, flint.OutcomeLost, flint.OutcomeError})
	d := value[*flint.DeadLetter](t)(s.DeadLetter(t.Context(), "p", "f", "e"))
	if len(told) != 1 || told[0].ID != "e" || told[0].Tries != 3 || told[0].Outcome != flint.OutcomeError {
		t.Errorf("told of %+v", told)
	}
	if d.Tries != 3 || d.Outcome != flint.OutcomeError || string(d.Body) != "body" || d.Method != "POST" || d.Path != "/e" {
		t.Errorf("dead letter %+v", d)
	}
}

func TestOutcomesThatDoNotRetry(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.deliver(t, flint.Delivery{MaxAttempts: 3, RetryOn: []flint.Outcome{flint.OutcomeCrash}})
	for i, o := range []flint.Outcome{flint.OutcomeAnswered, flint.OutcomeError, flint.OutcomeTimeout, flint.OutcomeUnrunnable} {
		s.accept(t, fmt.Sprint("e", i), QueuedCall{})
		if got := s.end(t, s.claimNext(t), o); got != SettledEnded {
			t.Errorf("%s: %v", o, got)
		}
	}
	if _, total, err := s.DeadLetters(t.Context(), "p", "f", "", 10); total != 0 || err != nil {
		t.Errorf("%d dead letters, %v: nobody wanted any", total, err)
	}
}

func TestCallsOfOneKeyAreMadeInOrder(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.deliver(t, flint.Delivery{MaxAttempts: 2, MaxBackoff: 1})
	for _, id := range []string{"a1", "b1", "a2", "a3", "free", "b2"} {
		key := id[:1]
		if id == "free" {
			key = ""
		}
		s.accept(t, id, QueuedCall{OrderKey: key})
	}
	first := s.claims(t, 16)
	diff(t, "at first", claimed(first), []string{"a1", "b1", "free"})
	if got := s.end(t, first[0], flint.OutcomeError); got != SettledAgain {
		t.Fatalf("a1: %v", got)
	}
	if got := s.end(t, first[1], flint.OutcomeAnswered); got != SettledEnded {
		t.Fatalf("b1: %v", got)
	}
	var order []string
	for range 4 { // the second attempt of a1 comes before a2
		c := s.claimNext(t)
		order = append(order, string(c.Execution.ID))
		if c.Execution.ID == "a2" {
			must(t, s.ReleaseExecution(t.Context(), "a2", c.Call.Attempt, 0, "no room"))
			c = s.claimNext(t)
			if c.Execution.ID != "a2" {
				t.Errorf("%s was taken while a2 was handed back", c.Execution.ID)
			}
			_, err := s.CancelExecution(t.Context(), "p", "f", "a2", "not wanted")
			must(t, err)
			continue
		}
		s.end(t, c, flint.OutcomeAnswered)
	}
	of := func(prefix string) (some []string) {
		for _, id := range order {
			if strings.HasPrefix(id, prefix) {
				some = append(some, id)
			}
		}
		return some
	}
	diff(t, "of a", of("a"), []string{"a1", "a2", "a3"})
	diff(t, "of b", of("b"), []string{"b2"})
}

func TestAFunctionAtItsLimit(t *testing.T) {
	t.Parallel()
	s := setup(t)
	other := &flint.Function{Project: "p", ID: "other"}
	must(t, s.CreateFunction(t.Context(), other, nil))
	s.deliver(t, flint.Delivery{MaxConcurrent: 2})
	for i := range 5 {
		s.accept(t, fmt.Sprint("e", i), QueuedCall{})
	}
	must(t, s.EnqueueExecution(t.Context(), &flint.Execution{Project: "p", Function: "other", ID: "o", Trigger: flint.TriggerHTTP}, &QueuedCall{}))
	first := s.claims(t, 16)
	diff(t, "at first", claimed(first), []string{"e0", "e1", "o"})
	s.end(t, first[0], flint.OutcomeAnswered)
	next := s.claims(t, 16)
	diff(t, "after one has ended", claimed(next), []string{"e2"})
	reborn(s.Store)
	if _, err := s.SettleExecutions(t.Context(), "n", time.Now(), "lost"); err != nil {
		t.Fatal(err)
	}
	diff(t, "after all were lost", claimed(s.claims(t, 16)), []string{"e3", "e4"})
	s.accept(t, "e5", QueuedCall{})
	diff(t, "while two run", claimed(s.claims(t, 16)), []string(nil))
	s.deliver(t, flint.Delivery{})
	diff(t, "without a limit", claimed(s.claims(t, 16)), []string{"e5"})
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	s.accept(t, "e", QueuedCall{IdempotencyKey: "k", Body: []byte("1")})
	again := func(id, body string) (*flint.Execution, error) {
		e := &flint.Execution{Project: "p", Function: "f", ID: flint.ExecutionID(id), Trigger: flint.TriggerHTTP, RequestMethod: "POST", RequestPath: "/e"}
		return e, s.EnqueueExecution(ctx, e, &QueuedCall{IdempotencyKey: "k", Body: []byte(body), Method: "POST", Path: "/e"})
	}
	if e, err := again("e2", "1"); err != nil || e.ID != "e" || e.Status != flint.ExecutionWaiting {
		t.Errorf("the same call again: %+v, %v", e, err)
	}
	_, err := again("e3", "2")
	wantErr(t, "another call with the key", err, flint.ErrIdempotencyConflict)
	s.end(t, s.claimNext(t), flint.OutcomeAnswered)
	if len(s.claims(t, 16)) > 0 {
		t.Error("it is to run twice")
	}
	if e, err := again("e4", "1"); err != nil || e.ID != "e" || e.Status != flint.ExecutionCompleted {
		t.Errorf("the same call after its end: %+v, %v", e, err)
	}
	if a, err := s.Answer(ctx, "e"); err != nil || a == nil || string(a.Body) != "answer" {
		t.Errorf("Answer() = %+v, %v", a, err)
	}
	must(t, s.DeleteExecution(ctx, "p", "f", "e"))
	if e, err := again("e5", "1"); err != nil || e.ID != "e5" {
		t.Errorf("after the execution was deleted: %+v, %v", e, err)
	}
}

func TestCancelExecution(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	s.deliver(t, flint.Delivery{MaxAttempts: 5, DeadLetters: true})
	s.accept(t, "waiting", QueuedCall{})
	e := value[*flint.Execution](t)(s.CancelExecution(ctx, "p", "f", "waiting", "canceled"))
	if e.Status != flint.ExecutionFailed || e.Errors != "canceled" {
		t.Errorf("canceled while it waited: %s %q", e.Status, e.Errors)
	}
	s.accept(t, "running", QueuedCall{})
	c := s.claimNext(t)
	_, err := s.CancelExecution(ctx, "p", "f", "running", "canceled")
	must(t, err)
	if got := s.end(t, c, flint.OutcomeAnswered); got != SettledLate {
		t.Errorf("the result of a canceled call: %v", got)
	}
	_, err = s.CancelExecution(ctx, "p", "f", "running", "canceled")
	wantErr(t, "cancel what has ended", err, flint.ErrExecutionEnded)
	_, err = s.CancelExecution(ctx, "p", "f", "none", "canceled")
	wantErr(t, "cancel nothing", err, flint.ErrExecutionNotFound)
	if _, total, _ := s.DeadLetters(ctx, "p", "f", "", 10); total != 0 {
		t.Errorf("%d dead letters of calls that somebody canceled", total)
	}
}

func TestExpireExecutions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	at := now()
	s.accept(t, "soon", QueuedCall{Expires: at.Add(time.Minute)})
	s.accept(t, "later", QueuedCall{Expires: at.Add(time.Hour)})
	s.accept(t, "never", QueuedCall{})
	if n, err := s.ExpireExecutions(ctx, at.Add(2*time.Minute)); n != 1 || err != nil {
		t.Errorf("ExpireExecutions() = %d, %v", n, err)
	}
	if e := value[*flint.Execution](t)(s.Execution(ctx, "p", "f", "soon")); e.Status != flint.ExecutionFailed || !strings.Contains(e.Errors, "nobody had begun it") {
		t.Errorf("expired: %s %q", e.Status, e.Errors)
	}
	diff(t, "left", claimed(s.claims(t, 16)), []string{"later", "never"})
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	s.deliver(t, flint.Delivery{DeadLetters: true})
	for i := range 3 {
		s.accept(t, fmt.Sprint("e", i), QueuedCall{Body: []byte{255, byte(i)}, User: "u", OrderKey: "k"})
		s.end(t, s.claimNext(t), flint.OutcomeCrash)
	}
	list := func(after flint.ExecutionID, limit int) (names []string) {
		all, total, err := s.DeadLetters(ctx, "p", "f", after, limit)
		must(t, err)
		for _, d := range all {
			names = append(names, string(d.ID))
		}
		return append(names, fmt.Sprint(total))
	}
	page := list("", 2)
	diff(t, "the rest", list(flint.ExecutionID(page[1]), 5), []string{list("", 3)[2], "3"})
	d := value[*flint.DeadLetter](t)(s.DeadLetter(ctx, "p", "f", "e1"))
	e := &flint.Execution{Project: "p", Function: "f", ID: "again", Trigger: d.Trigger}
	must(t, s.RedriveDeadLetter(ctx, "e1", e, &QueuedCall{Method: d.Method, Path: d.Path, Body: d.Body, User: d.User}))
	wantErr(t, "redrive twice", s.RedriveDeadLetter(ctx, "e1", &flint.Execution{Project: "p", Function: "f", ID: "twice"}, &QueuedCall{}), flint.ErrDeadLetterNotFound)
	c := s.claimNext(t)
	if c.Execution.ID != "again" || c.Call.Path != "/e1" || c.Call.User != "u" || string(c.Call.Body) != string([]byte{255, 1}) {
		t.Errorf("made again: %+v %+v", c.Execution, c.Call)
	}
	must(t, s.DeleteDeadLetter(ctx, "p", "f", "e0"))
	wantErr(t, "delete twice", s.DeleteDeadLetter(ctx, "p", "f", "e0"), flint.ErrDeadLetterNotFound)
	if n, err := s.PurgeDeadLetters(ctx, "p", "f"); n != 1 || err != nil {
		t.Errorf("PurgeDeadLetters() = %d, %v", n, err)
	}
	s.end(t, c, flint.OutcomeCrash)
	if more, err := s.PruneDelivery(ctx, now().Add(time.Minute)); more || err != nil {
		t.Errorf("PruneDelivery() = %v, %v", more, err)
	}
	diff(t, "after pruning", list("", 5), []string{"0"})
}

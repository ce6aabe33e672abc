package flint

import (
	"slices"
	"strconv"
	"time"
)

// Errors about calls that nobody waits for.
var (
	ErrExecutionEnded      = kind(Conflict, "execution_already_ended", "The execution has ended already: there is nothing left to cancel.")
	ErrIdempotencyConflict = kind(Conflict, "execution_idempotency_conflict", "The idempotency key was used for another call of this function: with another method, path or body. Use a key of its own for each call.")
	ErrDeadLetterNotFound  = kind(NotFound, "dead_letter_not_found", "Dead letter with the requested ID could not be found.")
)

// Outcome is how one attempt of a call that nobody waits for ended.
type Outcome string

// The outcomes.
const (
	OutcomeAnswered   Outcome = "answered"   // with a status below 500, other than the next two
	OutcomeThrottled  Outcome = "throttled"  // the function answered 408 or 429: not now
	OutcomeError      Outcome = "error"      // the function answered with 500 or more, or threw
	OutcomeTimeout    Outcome = "timeout"    // it missed its deadline
	OutcomeCrash      Outcome = "crash"      // its process ended, or could not be started
	OutcomeLost       Outcome = "lost"       // the node that ran it stopped, or was silent for longer than its lease
	OutcomeUnrunnable Outcome = "unrunnable" // there was nothing to run: no function, no ready deployment, no runtime
	OutcomeExpired    Outcome = "expired"    // nobody had begun it in time
	OutcomeCanceled   Outcome = "canceled"
)

// OutcomeOf is the outcome of an attempt that was answered with a status.
func OutcomeOf(status int) Outcome {
	switch {
	case status == 408 || status == 429:
		return OutcomeThrottled
	case status >= 500:
		return OutcomeError
	}
	return OutcomeAnswered
}

// RetryableOutcomes are those after which a call may be made again.
func RetryableOutcomes() []Outcome {
	return []Outcome{OutcomeThrottled, OutcomeError, OutcomeTimeout, OutcomeCrash, OutcomeLost}
}

// Delivery says how the calls of a function that nobody waits for are made. The zero value is the reference's way: each at
// most once, in no order, as many at once as there is room for.
type Delivery struct {
	MaxAttempts   int       `json:"maxAttempts,omitempty"`   // 0 and 1: one
	RetryOn       []Outcome `json:"retryOn,omitempty"`       // empty: all that are retryable
	MinBackoff    int       `json:"minBackoff,omitempty"`    // seconds; 0: DefaultMinBackoff
	MaxBackoff    int       `json:"maxBackoff,omitempty"`    // seconds; 0: DefaultMaxBackoff
	MaxAge        int       `json:"maxAge,omitempty"`        // seconds from when a call is due: no attempt begins later; 0: DefaultMaxAge
	DeadLetters   bool      `json:"deadLetters,omitempty"`   // keep calls that failed for good
	MaxConcurrent int       `json:"maxConcurrent,omitempty"` // calls at once; 0: as many as there is room for
}

// Bounds and defaults of Delivery.
const (
	MaxAttempts       = 100
	MaxBackoff        = 24 * time.Hour
	MaxAge            = 14 * 24 * time.Hour
	MaxConcurrent     = 1000
	DefaultMinBackoff = time.Second
	DefaultMaxBackoff = 5 * time.Minute
	DefaultMaxAge     = 24 * time.Hour
)

// Check returns what is wrong with d: the name of the field and why.
func (d Delivery) Check() (field, why string) {
	outside := func(n, most int) string {
		if n >= 0 && n <= most {
			return ""
		}
		return "Value must be a valid range between 0 and " + strconv.Itoa(most)
	}
	for _, c := range []struct {
		field   string
		n, most int
	}{
		{"maxAttempts", d.MaxAttempts, MaxAttempts},
		{"minBackoff", d.MinBackoff, int(MaxBackoff / time.Second)},
		{"maxBackoff", d.MaxBackoff, int(MaxBackoff / time.Second)},
		{"maxAge", d.MaxAge, int(MaxAge / time.Second)},
		{"maxConcurrent", d.MaxConcurrent, MaxConcurrent},
	} {
		if why := outside(c.n, c.most); why != "" {
			return c.field, why
		}
	}
	for _, o := range d.RetryOn {
		if !slices.Contains(RetryableOutcomes(), o) {
			return "retryOn", "Value must be one of (throttled, error, timeout, crash, lost)"
		}
	}
	if least, most := d.backoff(); least > most {
		return "minBackoff", "Value must not be larger than maxBackoff, which is " + strconv.Itoa(int(most/time.Second))
	}
	return "", ""
}

// Age is how long after it is due an attempt of a call may begin.
func (d Delivery) Age() time.Duration { return secondsOr(d.MaxAge, DefaultMaxAge) }

func (d Delivery) backoff() (least, most time.Duration) {
	return secondsOr(d.MinBackoff, DefaultMinBackoff), secondsOr(d.MaxBackoff, DefaultMaxBackoff)
}

func secondsOr(n int, fallback time.Duration) time.Duration {
	if n == 0 {
		return fallback
	}
	return time.Duration(n) * time.Second
}

// Retries reports whether an attempt that ended so is followed by another while there are some left.
func (d Delivery) Retries(o Outcome) bool {
	if d.MaxAttempts <= 1 {
		return false
	}
	if len(d.RetryOn) == 0 {
		return slices.Contains(RetryableOutcomes(), o)
	}
	return slices.Contains(d.RetryOn, o)
}

// Next says whether and after which pause a call is made again whose last attempt, the tries-th, ended so. The pause is
// between nothing and a bound that doubles from MinBackoff to MaxBackoff: random, from 0 to below 1, says where
// ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). left is how long an attempt may
// still begin. why is for people.
func (d Delivery) Next(o Outcome, tries int, left time.Duration, random float64) (pause time.Duration, again bool, why string) {
	switch {
	case !d.Retries(o):
		return 0, false, ""
	case tries >= d.MaxAttempts:
		return 0, false, "All " + strconv.Itoa(d.MaxAttempts) + " attempts have failed."
	}
	least, most := d.backoff()
	bound := most
	if shift := tries - 1; shift < 32 && least<<shift < most && least<<shift > 0 {
		bound = least << shift
	}
	pause = time.Duration(random * float64(bound))
	if pause >= left {
		return 0, false, "After " + strconv.Itoa(tries) + " of " + strconv.Itoa(d.MaxAttempts) + " attempts the call is too old for another."
	}
	return pause, true, ""
}

// DeadLetter is a call that failed for good. It can be made again.
type DeadLetter struct {
	ID         ExecutionID
	Project    ProjectID
	Function   FunctionID
	DiedAt     time.Time
	AcceptedAt time.Time
	Outcome    Outcome
	StatusCode int
	Tries      int
	Error      string // the end of what the last attempt left
	Trigger    Trigger
	Method     string
	Path       string
	Headers    []Header
	Body       []byte
	User       string
	ClientIP   string
	OrderKey   string
}

// Attempt is one attempt of a call that has ended.
type Attempt struct {
	Number           int // from 1
	Node             string
	BegunAt, EndedAt time.Time
	Outcome          Outcome
	StatusCode       int
	Error            string // the end of it
}

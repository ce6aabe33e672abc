package wire

import (
	"encoding/base64"
	"unicode/utf8"

	"flint"
)

// FunctionDelivery is the model of how a function's asynchronous calls are made. It is ours, like all of this file; the
// reference has none. Times are whole seconds; 0 stands for the default.
type FunctionDelivery struct {
	FunctionID    string   `json:"functionId"`
	MaxAttempts   int      `json:"maxAttempts"` // 0 and 1: one
	RetryOn       []string `json:"retryOn"`     // empty: all that are retryable
	MinBackoff    int      `json:"minBackoff"`
	MaxBackoff    int      `json:"maxBackoff"`
	MaxAge        int      `json:"maxAge"`
	DeadLetters   bool     `json:"deadLetters"`
	MaxConcurrent int      `json:"maxConcurrent"` // 0: no limit
}

// NewFunctionDelivery returns the model of a function's settings.
func NewFunctionDelivery(f *flint.Function) *FunctionDelivery {
	d := f.Delivery
	m := &FunctionDelivery{
		FunctionID: string(f.ID), MaxAttempts: d.MaxAttempts, RetryOn: make([]string, len(d.RetryOn)), MinBackoff: d.MinBackoff, MaxBackoff: d.MaxBackoff,
		MaxAge: d.MaxAge, DeadLetters: d.DeadLetters, MaxConcurrent: d.MaxConcurrent,
	}
	for i, o := range d.RetryOn {
		m.RetryOn[i] = string(o)
	}
	return m
}

// DeadLetter is the model of a call that failed for good.
type DeadLetter struct {
	ExecutionID    string         `json:"executionId"`
	FunctionID     string         `json:"functionId"`
	DiedAt         string         `json:"diedAt"`
	AcceptedAt     string         `json:"acceptedAt"`
	Outcome        string         `json:"outcome"`
	StatusCode     int            `json:"statusCode"`
	Attempts       int            `json:"attempts"`
	Error          string         `json:"error"` // the end of what the last attempt left
	Trigger        string         `json:"trigger"`
	RequestMethod  string         `json:"requestMethod"`
	RequestPath    string         `json:"requestPath"`
	RequestHeaders []flint.Header `json:"requestHeaders"`
	RequestBody    string         `json:"requestBody"`
	BodyEncoding   string         `json:"bodyEncoding"` // utf-8, or base64 of a body that is no text
	UserID         string         `json:"userId"`
	OrderingKey    string         `json:"orderingKey"`
}

// NewDeadLetter returns the model of a dead letter.
func NewDeadLetter(d *flint.DeadLetter) *DeadLetter {
	m := &DeadLetter{
		ExecutionID: string(d.ID), FunctionID: string(d.Function), DiedAt: Date(d.DiedAt), AcceptedAt: Date(d.AcceptedAt), Outcome: string(d.Outcome),
		StatusCode: d.StatusCode, Attempts: d.Tries, Error: d.Error, Trigger: string(d.Trigger), RequestMethod: d.Method, RequestPath: d.Path,
		RequestHeaders: append([]flint.Header{}, d.Headers...), RequestBody: string(d.Body), BodyEncoding: "utf-8", UserID: d.User, OrderingKey: d.OrderKey,
	}
	if !utf8.Valid(d.Body) {
		m.RequestBody, m.BodyEncoding = base64.StdEncoding.EncodeToString(d.Body), "base64"
	}
	return m
}

// DeadLetterNotice is the model of what is told of a call when it has failed for good: not what it carried.
type DeadLetterNotice struct {
	ExecutionID   string `json:"executionId"`
	FunctionID    string `json:"functionId"`
	DiedAt        string `json:"diedAt"`
	AcceptedAt    string `json:"acceptedAt"`
	Outcome       string `json:"outcome"`
	StatusCode    int    `json:"statusCode"`
	Attempts      int    `json:"attempts"`
	Error         string `json:"error"`
	Trigger       string `json:"trigger"`
	RequestMethod string `json:"requestMethod"`
	RequestPath   string `json:"requestPath"`
}

// NewDeadLetterNotice returns the model of a notice.
func NewDeadLetterNotice(d *flint.DeadLetter) *DeadLetterNotice {
	return &DeadLetterNotice{
		ExecutionID: string(d.ID), FunctionID: string(d.Function), DiedAt: Date(d.DiedAt), AcceptedAt: Date(d.AcceptedAt), Outcome: string(d.Outcome),
		StatusCode: d.StatusCode, Attempts: d.Tries, Error: d.Error, Trigger: string(d.Trigger), RequestMethod: d.Method, RequestPath: d.Path,
	}
}

// DeadLetterList is the model of some dead letters of a function, newest first.
type DeadLetterList struct {
	Total       int           `json:"total"`
	DeadLetters []*DeadLetter `json:"deadLetters"`
}

// NewDeadLetterList returns the model of a list.
func NewDeadLetterList(all []*flint.DeadLetter, total int) *DeadLetterList {
	m := &DeadLetterList{Total: total, DeadLetters: make([]*DeadLetter, len(all))}
	for i, d := range all {
		m.DeadLetters[i] = NewDeadLetter(d)
	}
	return m
}

// DeadLettersPurged is the model of how many dead letters were removed.
type DeadLettersPurged struct {
	Purged int `json:"purged"`
}

// Attempt is the model of one attempt of an asynchronous execution that has ended.
type Attempt struct {
	Number     int    `json:"number"`
	BegunAt    string `json:"begunAt"`
	EndedAt    string `json:"endedAt"`
	Outcome    string `json:"outcome"`
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
}

// AttemptList is the model of the attempts of an execution, oldest first.
type AttemptList struct {
	Total    int       `json:"total"`
	Attempts []Attempt `json:"attempts"`
}

// NewAttemptList returns the model of attempts.
func NewAttemptList(all []flint.Attempt) *AttemptList {
	m := &AttemptList{Total: len(all), Attempts: make([]Attempt, len(all))}
	for i, a := range all {
		m.Attempts[i] = Attempt{Number: a.Number, BegunAt: Date(a.BegunAt), EndedAt: Date(a.EndedAt), Outcome: string(a.Outcome), StatusCode: a.StatusCode, Error: a.Error}
	}
	return m
}

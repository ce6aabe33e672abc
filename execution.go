package flint

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Errors about executions.
var (
	ErrExecutionNotFound   = kind(NotFound, "execution_not_found", "Execution with the requested ID could not be found.")
	ErrExecutionInProgress = kind(Invalid, "execution_in_progress", "Can't delete ongoing execution. Please wait for execution to finish before deleting it.")
)

// ExecutionStatus is the state of an execution.
type ExecutionStatus string

// The states. Completed and failed are final.
const (
	ExecutionWaiting    ExecutionStatus = "waiting"
	ExecutionProcessing ExecutionStatus = "processing"
	ExecutionScheduled  ExecutionStatus = "scheduled"
	ExecutionCompleted  ExecutionStatus = "completed"
	ExecutionFailed     ExecutionStatus = "failed"
)

// Final reports whether the state can no longer change.
func (s ExecutionStatus) Final() bool { return s == ExecutionCompleted || s == ExecutionFailed }

// Trigger is what caused an execution.
type Trigger string

// The triggers.
const (
	TriggerHTTP     Trigger = "http"
	TriggerSchedule Trigger = "schedule"
	TriggerEvent    Trigger = "event"
)

// Limits of calls, from the reference.
const (
	MaxRequestBody      = 20 << 20   // bytes a function can be given
	MaxExecutionBody    = 10_485_760 // characters of the body parameter of createExecution
	MaxResponseBody     = 20 << 20   // bytes a function can answer
	MaxExecutionLog     = 1_000_000  // bytes kept of logs and of errors each: the newest
	logsTruncatedFormat = "[WARNING] %s truncated. The output exceeded 1000000 characters.\n"
)

// Header is one HTTP header field.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Execution is the record of one call of a function.
type Execution struct {
	Project              ProjectID
	ID                   ExecutionID
	Function             FunctionID
	Deployment           DeploymentID
	CreatedAt, UpdatedAt time.Time
	Permissions          []string // read("user:<id>") when an end user caused it

	Trigger Trigger
	Status  ExecutionStatus

	RequestMethod   string
	RequestPath     string // with the query string
	RequestHeaders  []Header
	StatusCode      int      // 0 until finished
	ResponseHeaders []Header // as stored: content-type and content-length only
	Logs, Errors    string
	Duration        float64 // seconds
	ScheduledAt     time.Time
	Receipt         *Receipt // nil: it has none
}

// StoredRequestHeader reports whether the record of an execution keeps a request header of that lower-case name.
func StoredRequestHeader(name string) bool {
	switch name {
	case "content-type", "agent", "content-length", "host", "x-appwrite-client-ip":
		return true
	}
	return false
}

// StoredResponseHeader reports whether the record of an execution keeps a response header of that lower-case name.
func StoredResponseHeader(name string) bool {
	return name == "content-type" || name == "content-length"
}

// ClipOutput cuts text to the newest MaxExecutionLog bytes, warning included, when it is longer or when older output
// was already dropped. what is "Logs" or "Errors". The result is valid UTF-8 and holds no NUL.
func ClipOutput(text, what string, dropped bool) string {
	if len(text) > MaxExecutionLog || dropped {
		warning := strings.Replace(logsTruncatedFormat, "%s", what, 1)
		if keep := MaxExecutionLog - len(warning); len(text) > keep {
			text = text[len(text)-keep:]
			for len(text) > 0 && !utf8.RuneStart(text[0]) {
				text = text[1:]
			}
		}
		text = warning + text
	}
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

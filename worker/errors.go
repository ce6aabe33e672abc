package worker

import (
	"fmt"

	"flint/sandbox"
)

// EndedError says that a worker ended while it had the call.
type EndedError struct {
	Reason string // why Flint ended it; empty when it ended by itself
	Exit   sandbox.Exit
	Output string // the last that it wrote outside of any call
}

func (e *EndedError) Error() string {
	text := "the worker ended: " + e.Exit.String()
	if e.Reason != "" {
		text = "the worker was ended because " + e.Reason
	}
	if e.Output != "" {
		text += "\nIts last output:\n" + e.Output
	}
	return text
}

// StartError says that no worker could be started for a target.
type StartError struct{ Cause error }

func (e *StartError) Error() string { return fmt.Sprintf("no worker could be started: %s", e.Cause) }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Cause }

// BodyError says that the body of a request could not be read from the caller.
type BodyError struct{ Cause error }

func (e *BodyError) Error() string { return "read request body: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *BodyError) Unwrap() error { return e.Cause }

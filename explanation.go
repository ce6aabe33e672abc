package flint

import "time"

// ErrNothingToExplain is of an identifier that names nothing.
var ErrNothingToExplain = kind(NotFound, "explain_not_found", "Nothing with the requested ID could be found: it is no execution, deployment, dead letter or function of the project.")

// Explanation says in plain words why a thing is in the state that it is in.
type Explanation struct {
	Kind       string // execution, deployment, deadletter or function
	ID         string
	Project    ProjectID
	Function   FunctionID
	State      string
	Since      time.Time
	Summary    string   // why it is in this state
	WaitingFor string   // what has to happen first; empty: nothing
	Next       string   // what happens then by itself; empty: nothing
	Advice     []string // what somebody could do
	History    []Moment // oldest first
}

// Moment is something that happened.
type Moment struct {
	At   time.Time
	What string
}

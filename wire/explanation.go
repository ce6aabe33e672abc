package wire

import "flint"

// Explanation is the model of why a thing is in its state. It is ours; the reference has none.
type Explanation struct {
	Kind       string   `json:"kind"` // execution, deployment or function
	ID         string   `json:"$id"`
	FunctionID string   `json:"functionId"`
	State      string   `json:"state"`
	Since      string   `json:"since"`
	Summary    string   `json:"summary"`
	WaitingFor string   `json:"waitingFor"` // empty: nothing
	Next       string   `json:"next"`       // empty: nothing happens by itself
	Advice     []string `json:"advice"`
	History    []Moment `json:"history"` // oldest first
}

// Moment is the model of something that happened.
type Moment struct {
	At   string `json:"at"`
	What string `json:"what"`
}

// NewExplanation returns the model of an explanation.
func NewExplanation(e *flint.Explanation) *Explanation {
	m := &Explanation{
		Kind: e.Kind, ID: e.ID, FunctionID: string(e.Function), State: e.State, Since: Date(e.Since), Summary: e.Summary, WaitingFor: e.WaitingFor, Next: e.Next,
		Advice: append([]string{}, e.Advice...), History: make([]Moment, len(e.History)),
	}
	for i, h := range e.History {
		m.History[i] = Moment{At: Date(h.At), What: h.What}
	}
	return m
}

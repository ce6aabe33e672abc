package client

import (
	"context"
	"net/http"
	"net/url"
)

// Explanation says why a thing is in its state.
type Explanation struct {
	Kind       string   `json:"kind"`
	ID         string   `json:"$id"`
	FunctionID string   `json:"functionId"`
	State      string   `json:"state"`
	Since      string   `json:"since"`
	Summary    string   `json:"summary"`
	WaitingFor string   `json:"waitingFor"`
	Next       string   `json:"next"`
	Advice     []string `json:"advice"`
	History    []Moment `json:"history"`
}

// Moment is something that happened.
type Moment struct {
	At   string `json:"at"`
	What string `json:"what"`
}

// Explain says why an execution, a deployment or a function of a project is in its state.
func (c *Client) Explain(ctx context.Context, project, id string) (e Explanation, err error) {
	return e, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/explain/"+url.PathEscape(id), nil, nil, &e)
}

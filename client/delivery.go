package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Delivery is how a function's asynchronous calls are made; times are seconds. In an update what is nil stays as it is.
type Delivery struct {
	MaxAttempts   *int      `json:"maxAttempts,omitempty"`
	RetryOn       *[]string `json:"retryOn,omitempty"`
	MinBackoff    *int      `json:"minBackoff,omitempty"`
	MaxBackoff    *int      `json:"maxBackoff,omitempty"`
	MaxAge        *int      `json:"maxAge,omitempty"`
	DeadLetters   *bool     `json:"deadLetters,omitempty"`
	MaxConcurrent *int      `json:"maxConcurrent,omitempty"`
}

// DeadLetter is a call that failed for good.
type DeadLetter struct {
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
	RequestBody   string `json:"requestBody"`
	BodyEncoding  string `json:"bodyEncoding"`
	OrderingKey   string `json:"orderingKey"`
}

// DeadLetterList is some of a function's dead letters, newest first.
type DeadLetterList struct {
	Total       int          `json:"total"`
	DeadLetters []DeadLetter `json:"deadLetters"`
}

func functionPath(project, function, rest string) string {
	return "/projects/" + url.PathEscape(project) + "/functions/" + url.PathEscape(function) + rest
}

// Delivery returns how a function's asynchronous calls are made.
func (c *Client) Delivery(ctx context.Context, project, function string) (d Delivery, err error) {
	return d, c.do(ctx, http.MethodGet, functionPath(project, function, "/delivery"), nil, nil, &d)
}

// UpdateDelivery changes it and returns what it is then.
func (c *Client) UpdateDelivery(ctx context.Context, project, function string, change Delivery) (d Delivery, err error) {
	return d, c.do(ctx, http.MethodPatch, functionPath(project, function, "/delivery"), nil, change, &d)
}

// Cancel ends an execution that waits or runs, and returns it as it ended.
func (c *Client) Cancel(ctx context.Context, project, id string) (e Execution, err error) {
	return e, c.do(ctx, http.MethodPost, "/projects/"+url.PathEscape(project)+"/executions/"+url.PathEscape(id)+"/cancel", nil, nil, &e)
}

// DeadLetters returns dead letters of a function, newest first, from after the one with that id on.
func (c *Client) DeadLetters(ctx context.Context, project, function, after string, limit int) (l DeadLetterList, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}, "after": {after}}
	return l, c.do(ctx, http.MethodGet, functionPath(project, function, "/deadletters"), query, nil, &l)
}

// DeadLetter returns one dead letter.
func (c *Client) DeadLetter(ctx context.Context, project, function, id string) (d DeadLetter, err error) {
	return d, c.do(ctx, http.MethodGet, functionPath(project, function, "/deadletters/"+url.PathEscape(id)), nil, nil, &d)
}

// Redrive makes a dead letter a new call and returns its execution.
func (c *Client) Redrive(ctx context.Context, project, function, id string) (e Execution, err error) {
	return e, c.do(ctx, http.MethodPost, functionPath(project, function, "/deadletters/"+url.PathEscape(id)+"/redrive"), nil, nil, &e)
}

// DeleteDeadLetter removes one dead letter.
func (c *Client) DeleteDeadLetter(ctx context.Context, project, function, id string) error {
	return c.do(ctx, http.MethodDelete, functionPath(project, function, "/deadletters/"+url.PathEscape(id)), nil, nil, nil)
}

// PurgeDeadLetters removes all dead letters of a function and returns how many there were.
func (c *Client) PurgeDeadLetters(ctx context.Context, project, function string) (int, error) {
	var out struct {
		Purged int `json:"purged"`
	}
	err := c.do(ctx, http.MethodDelete, functionPath(project, function, "/deadletters"), nil, nil, &out)
	return out.Purged, err
}

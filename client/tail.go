package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"flint/feed"
)

// TailFilter says what to follow. Empty fields mean everything.
type TailFilter struct {
	Functions, Statuses, Triggers []string
	Text                          string
}

// Tail calls each with what functions log while they run and with every execution that ends, until ctx ends, the node
// stops or each returns an error.
func (c *Client) Tail(ctx context.Context, project string, f TailFilter, each func(feed.Entry) error) error {
	query := url.Values{"function": f.Functions, "status": f.Statuses, "trigger": f.Triggers, "text": {f.Text}}
	resp, err := c.send(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/tail", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return lines(ctx, resp.Body, func(e feed.Entry) error {
		if e.Event == "" {
			return nil // a sign of life
		}
		return each(e)
	})
}

// lines calls each with the JSON texts of an answer that goes on until the node stops.
func lines[T any](ctx context.Context, body io.Reader, each func(T) error) error {
	d := json.NewDecoder(bufio.NewReader(body))
	for {
		var v T
		switch err := d.Decode(&v); {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the node has stopped")
		case err != nil:
			return err
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Webhook is a webhook, without what is secret of it.
type Webhook struct {
	ID         string            `json:"id"`
	Project    string            `json:"project"`
	Name       string            `json:"name"`
	URL        string            `json:"url"`
	Events     []string          `json:"events"`
	Verify     bool              `json:"tls"`
	Enabled    bool              `json:"enabled"`
	Failures   int               `json:"failures"` // deliveries in a row that were given up
	Logs       string            `json:"logs,omitempty"`
	CreatedAt  time.Time         `json:"createdAt"`
	Waiting    int               `json:"waiting"`              // deliveries that have not ended
	Deliveries []WebhookDelivery `json:"deliveries,omitempty"` // the newest, where one webhook is shown
}

// WebhookDelivery is an event on its way to a webhook.
type WebhookDelivery struct {
	Event     string    `json:"event"` // its first name
	CreatedAt time.Time `json:"createdAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	DueAt     time.Time `json:"dueAt,omitzero"` // of the next attempt, if it has not ended
	Attempts  int       `json:"attempts"`
	Status    int       `json:"status,omitempty"` // of the last answer
	Error     string    `json:"error,omitempty"`  // of the last attempt
}

// Webhooks returns the webhooks of a project.
func (c *Client) Webhooks(ctx context.Context, project string) (all []Webhook, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/webhooks", nil, nil, &all)
}

// Webhook returns a webhook with its newest deliveries.
func (c *Client) Webhook(ctx context.Context, project, id string, deliveries int) (w Webhook, err error) {
	return w, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/webhooks/"+url.PathEscape(id), url.Values{"limit": {strconv.Itoa(deliveries)}}, nil, &w)
}

package flint

import (
	"net/url"
	"strings"
	"time"
)

// Errors about webhooks.
var (
	ErrWebhookNotFound = kind(NotFound, "webhook_not_found", "Webhook with the requested ID could not be found.")
	ErrWebhookExists   = kind(Conflict, "webhook_already_exists", "Webhook with the requested ID already exists. Try again with a different ID or use ID.unique() to generate a unique ID.")
)

// Webhook tells somebody outside of what happens in a project.
type Webhook struct {
	ID                   WebhookID
	Project              ProjectID
	CreatedAt, UpdatedAt time.Time

	Name                   string
	URL                    string
	Events                 []string // names of events that it wants
	Verify                 bool     // the receiver's certificate
	AuthUser, AuthPassword string   // for basic authentication; both empty: none
	Secret                 string   // that deliveries are signed with
	Enabled                bool

	Failures int    // deliveries in a row that were given up
	Logs     string // of the last attempt that failed
}

// Bounds of webhooks.
const (
	MaxWebhookFailures = 10     // deliveries given up in a row that disable a webhook
	MaxWebhookWaiting  = 10_000 // deliveries of one webhook that wait; what comes then is given up
	MaxWebhookHistory  = 100    // deliveries of one webhook that have ended and are remembered
)

// WebhookDelivery is one event on its way to one webhook.
type WebhookDelivery struct {
	Seq       int64  // of the event
	Names     string // of the event, with commas between them
	User      string // who caused it
	Payload   []byte // empty once it has ended
	CreatedAt time.Time
	DueAt     time.Time // of the next attempt; zero: it has ended
	EndedAt   time.Time
	Attempts  int    // that were begun
	Status    int    // of the last answer; 0: there was none
	Error     string // of the last attempt; empty: it was delivered, or there was none yet
}

// MaxURLLength is the longest URL of a webhook, in bytes.
const MaxURLLength = 2048

// ValidWebhookURL reports whether deliveries can be sent to a URL, if there is somebody.
func ValidWebhookURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && len(s) <= MaxURLLength && !strings.ContainsAny(s, "\r\n\t\x00")
}

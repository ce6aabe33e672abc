package trigger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the contract's signature
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/internal/outward"
	"flint/internal/pull"
	"flint/store"
)

// DelivererConfig is what a Deliverer needs.
type DelivererConfig struct {
	Store    *store.Store
	Logger   *slog.Logger
	Registry prometheus.Registerer

	Node   string         // names this node in leases; the same in each of its lives
	Policy outward.Policy // what may be delivered to beside the internet

	Concurrency int           // webhooks that are delivered to at once [16]
	Timeout     time.Duration // of one attempt [15 s]
	Attempts    int           // of one delivery [6]
	Backoff     time.Duration // most that is waited after the first attempt; four times as much after each further one [2 s]
}

// Bounds of deliveries.
const (
	longestBackoff  = 15 * time.Minute
	deliveryAge     = 24 * time.Hour   // after which one is given up, however often it was tried
	deliveryPoll    = 5 * time.Second  // how often they are looked for although nobody rang
	deliverySpare   = 45 * time.Second // of a lease beyond the time of an attempt
	answerRead      = 64 << 10         // of a body, so that the connection can be used again
	answerKept      = 1 << 10          // of the body of a refusal, in the webhook's logs
	idleConnections = 64
)

// Deliverer tells webhooks of events: the deliveries of one webhook one after the other, in the order of their events. One
// that fails waits for its next attempt and lets the others pass.
type Deliverer struct {
	config             DelivererConfig
	bell               pull.Bell
	metrics            *deliveryMetrics
	verified, trustful *http.Client
}

// NewDeliverer makes a Deliverer.
func NewDeliverer(c DelivererConfig) *Deliverer {
	if c.Store == nil || c.Logger == nil || c.Registry == nil || c.Node == "" {
		panic("trigger: Store, Logger, Registry and Node are required")
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 6
	}
	if c.Backoff == 0 {
		c.Backoff = 2 * time.Second
	}
	d := &Deliverer{config: c, bell: pull.NewBell(), metrics: newDeliveryMetrics(c.Registry)}
	d.verified, d.trustful = d.client(false), d.client(true)
	return d
}

// client follows no redirect: where it leads was not what was signed. It knows no proxy: the proxy's address would be the
// one that is checked.
func (d *Deliverer) client(trustful bool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     d.config.Policy.Dialer(d.config.Timeout).DialContext,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: trustful}, //nolint:gosec // what the webhook asks for
			MaxIdleConns:    idleConnections, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Ring says that there are new deliveries.
func (d *Deliverer) Ring() { d.bell.Ring() }

// Settle takes up the deliveries that this node had in an earlier life. It is called once, before Run.
func (d *Deliverer) Settle(ctx context.Context) error {
	return d.config.Store.SettleDeliveries(ctx, d.config.Node, time.Now())
}

// Run delivers until ctx ends, then lets the attempts that run finish: each has its deadline.
func (d *Deliverer) Run(ctx context.Context) error {
	defer d.verified.CloseIdleConnections()
	defer d.trustful.CloseIdleConnections()
	life := context.WithoutCancel(ctx)
	var running sync.WaitGroup
	loop := pull.Loop{
		Slots: d.config.Concurrency, Bell: d.bell, Every: deliveryPoll, Due: d.config.Store.NextDelivery,
		Claim: func(ctx context.Context, _ int) ([]func(), error) {
			c, err := d.config.Store.ClaimDelivery(ctx, d.config.Node, d.config.Timeout+deliverySpare)
			if c == nil {
				return nil, err
			}
			return []func(){func() { d.deliver(life, c) }}, err
		},
		Sweep:  func(ctx context.Context) error { return d.config.Store.SettleDeliveries(ctx, "", time.Now()) },
		Failed: func(err error) { d.config.Logger.ErrorContext(ctx, "deliveries cannot be read", errAttr(err)) },
	}
	loop.Run(ctx, &running)
	running.Wait()
	return nil
}

// deliver makes one attempt and writes what came of it.
func (d *Deliverer) deliver(ctx context.Context, c *store.DeliveryClaim) {
	begun := time.Now()
	o := store.DeliveryOutcome{}
	if age := begun.Sub(c.Delivery.CreatedAt); age > deliveryAge {
		o.Error = fmt.Sprintf("It was given up after %s.", age.Truncate(time.Second))
	} else {
		o = d.attempt(ctx, c)
		d.metrics.seconds.Observe(time.Since(begun).Seconds())
		if o.Error != "" && c.Delivery.Attempts < d.config.Attempts {
			o.Retry = time.Now().Add(d.backoff(c.Delivery.Attempts))
		}
	}
	attrs := []any{
		slog.String("project_id", string(c.Webhook.Project)), slog.String("webhook_id", string(c.Webhook.ID)), slog.Int64("event", c.Delivery.Seq),
		slog.Int("attempt", c.Delivery.Attempts), slog.Int("status", o.Status),
	}
	outcome := "delivered"
	if o.Error != "" {
		attrs = append(attrs, slog.String("err", o.Error))
		if o.Logs == "" {
			o.Logs = o.Error
		}
		if outcome = "failed"; o.Retry.IsZero() {
			outcome = "given up"
		}
		d.config.Logger.InfoContext(ctx, "webhook not delivered", attrs...)
	}
	counted, disabled, err := d.config.Store.FinishDelivery(ctx, c, o)
	switch {
	case err != nil:
		d.config.Logger.ErrorContext(ctx, "delivery not recorded", append(attrs, slog.String("cause", err.Error()))...)
		return
	case !counted: // the lease ran out, or the webhook is gone
		outcome = "lost"
	}
	d.metrics.outcomes.WithLabelValues(outcome).Inc()
	if disabled {
		d.metrics.disabled.Inc()
		d.config.Logger.WarnContext(ctx, "webhook disabled: it failed too often", attrs...)
	}
	d.bell.Ring() // its next delivery may be due
}

// backoff is how long a delivery waits after an attempt: anything up to a bound that grows, so that those which failed
// together do not come back together.
func (d *Deliverer) backoff(attempts int) time.Duration {
	most := d.config.Backoff
	for range attempts - 1 {
		if most = min(4*most, longestBackoff); most == longestBackoff {
			break
		}
	}
	return rand.N(most) //nolint:gosec // nobody guesses it
}

// attempt sends one delivery.
func (d *Deliverer) attempt(ctx context.Context, c *store.DeliveryClaim) store.DeliveryOutcome {
	ctx, cancel := context.WithTimeout(ctx, d.config.Timeout)
	defer cancel()
	r, err := request(ctx, c.Webhook, c.Delivery)
	if err != nil {
		return store.DeliveryOutcome{Error: "The request could not be made: " + err.Error()}
	}
	client := d.trustful
	if c.Webhook.Verify {
		client = d.verified
	}
	answer, err := client.Do(r)
	if err != nil {
		return store.DeliveryOutcome{Error: explain(ctx, err, d.config.Timeout)}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerRead))
	status := answer.StatusCode
	switch {
	case status >= 200 && status < 300: // it has arrived, whatever becomes of the rest of the answer
		return store.DeliveryOutcome{Status: status}
	case status >= 300 && status < 400:
		return store.DeliveryOutcome{Status: status, Error: fmt.Sprintf("The receiver answered with the status %d. Redirects are not followed.", status)}
	}
	why := fmt.Sprintf("The receiver answered with the status %d.", status)
	if err != nil {
		return store.DeliveryOutcome{Status: status, Error: why}
	}
	return store.DeliveryOutcome{Status: status, Error: why, Logs: why + "\n" + excerpt(body)}
}

// explain words why there was no answer.
func explain(ctx context.Context, err error, limit time.Duration) string {
	var refused *outward.RefusedError
	var slow net.Error
	switch {
	case errors.As(err, &refused):
		return "Nothing was sent: " + refused.Error() + ", see --webhook-allow."
	case ctx.Err() != nil, errors.As(err, &slow) && slow.Timeout():
		return fmt.Sprintf("There was no answer within %s.", limit)
	}
	return "There was no answer: " + err.Error()
}

// excerpt is the beginning of a body as text.
func excerpt(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), answerKept)]), "")
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == utf8.RuneError {
			return -1
		}
		return c
	}, text)
}

// request makes the request of a delivery, as the contract has it.
func request(ctx context.Context, w *flint.Webhook, delivery *flint.WebhookDelivery) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(delivery.Payload))
	if err != nil {
		return nil, err
	}
	h := r.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Appwrite-Server v"+flint.ReferenceVersion)
	h.Set("X-Appwrite-Webhook-Id", string(w.ID))
	h.Set("X-Appwrite-Webhook-Events", delivery.Names)
	h.Set("X-Appwrite-Webhook-Name", headerText(w.Name))
	h.Set("X-Appwrite-Webhook-User-Id", delivery.User)
	h.Set("X-Appwrite-Webhook-Project-Id", string(w.Project))
	h.Set("X-Appwrite-Webhook-Signature", Signature(w.URL, delivery.Payload, w.Secret))
	if w.AuthUser != "" || w.AuthPassword != "" {
		r.SetBasicAuth(w.AuthUser, w.AuthPassword)
	}
	return r, nil
}

// headerText is a text without what HTTP does not allow in a header.
func headerText(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

// Signature is what proves to a receiver that a delivery is from somebody who knows the secret.
func Signature(url string, body []byte, secret string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	_, _ = io.WriteString(mac, url) // never fails
	_, _ = mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

package trigger

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/internal/outward"
)

// received is a request that a receiver got.
type received struct {
	header http.Header
	body   string
}

// receiver answers with one status after the other, and with the last one from then on.
func receiver(t *testing.T, secure bool, statuses ...int) (url string, got <-chan received) {
	t.Helper()
	requests := make(chan received, 100)
	var mu sync.Mutex
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- received{r.Header.Clone(), string(body)}
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(statuses[0])
		_, _ = io.WriteString(w, "what I think of it")
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL, requests
}

// deliverer runs one until the test ends.
func (b *bed) deliverer(t *testing.T, change func(*DelivererConfig)) *Deliverer {
	t.Helper()
	c := DelivererConfig{
		Store: b.Store, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Node: "n", Backoff: 1,
		Policy: outward.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	if change != nil {
		change(&c)
	}
	d := NewDeliverer(c)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return d
}

func (b *bed) webhook(t *testing.T, url string, change func(*flint.Webhook)) {
	t.Helper()
	w := &flint.Webhook{Project: project, ID: "w", Name: "One\nline ü", URL: url, Events: []string{"rules.*.create"}, Enabled: true, Secret: "12345678"}
	if change != nil {
		change(w)
	}
	must(t, b.CreateWebhook(t.Context(), w))
}

// ended waits for the delivery of the newest event to end.
func (b *bed) ended(t *testing.T, attempts int) *flint.WebhookDelivery {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		all, _, err := b.Deliveries(t.Context(), project, "w", 1)
		must(t, err)
		if len(all) > 0 && !all[0].EndedAt.IsZero() && all[0].Attempts >= attempts {
			return all[0]
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it does not end")
		}
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	url, got := receiver(t, false, 500, 503, 204)
	url += "/hook?a=b"
	b.webhook(t, url, func(w *flint.Webhook) { w.AuthUser, w.AuthPassword = "me", "pass" })
	b.rule(flint.WithActor(t.Context(), flint.Actor{User: "u"}), t, "r")
	d := b.deliverer(t, nil)
	b.relay(func(c *Config) { c.Delivered = d.Ring }).all(t)
	want := map[string]string{
		"Content-Type": "application/json", "User-Agent": "Appwrite-Server v1.9.6", "X-Appwrite-Webhook-Id": "w", "X-Appwrite-Webhook-Name": "One line ü",
		"X-Appwrite-Webhook-Events": "rules.r.create,rules.*.create,rules.r,rules.*", "X-Appwrite-Webhook-User-Id": "u", "X-Appwrite-Webhook-Project-Id": "p",
		"X-Appwrite-Webhook-Signature": Signature(url, []byte(`{"$id":"r"}`), "12345678"), "Authorization": "Basic bWU6cGFzcw==",
	}
	for range 3 {
		r := <-got
		headers := map[string]string{}
		for name := range want {
			headers[name] = r.header.Get(name)
		}
		if diff := cmp.Diff(want, headers); diff != "" || r.body != `{"$id":"r"}` {
			t.Errorf("body %s, headers %s", r.body, diff)
		}
	}
	if e := b.ended(t, 3); e.Status != 204 || e.Error != "" || e.Attempts != 3 {
		t.Errorf("%+v", e)
	}
	if w, err := b.Webhook(t.Context(), project, "w"); err != nil || w.Failures != 0 || w.Logs != "The receiver answered with the status 503.\nwhat I think of it" {
		t.Errorf("%+v, %v", w, err)
	}
	if n := counted(t, d.config.Registry, "flint_webhook_attempts_total", "failed"); n != 2 {
		t.Errorf("%v failed attempts", n)
	}
}

// TestSignature is what other programs get: printf 'http://x/{}' | openssl dgst -sha1 -hmac 12345678 -binary | base64.
func TestSignature(t *testing.T) {
	t.Parallel()
	if got, want := Signature("http://x/", []byte("{}"), "12345678"), "NyHUc1T9K+7/hTK6H+gFOrN2TjI="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDeliveriesThatFail are given up, each with its reason.
func TestDeliveriesThatFail(t *testing.T) {
	t.Parallel()
	secure, _ := receiver(t, true, 200)
	redirect, followed := receiver(t, false, 302)
	_, port, _ := strings.Cut(strings.TrimPrefix(redirect, "http://"), ":")
	for name, c := range map[string]struct {
		url, want string
		verify    bool
		policy    func(*DelivererConfig)
	}{
		"redirect":         {url: redirect, want: "302. Redirects are not followed."},
		"certificate":      {url: secure, verify: true, want: "certificate"},
		"loopback":         {url: redirect, want: "Nothing was sent: the address 127.0.0.1 is of this machine", policy: func(c *DelivererConfig) { c.Policy = outward.Policy{} }},
		"name of loopback": {url: "http://localhost:" + port, want: "is of this machine", policy: func(c *DelivererConfig) { c.Policy = outward.Policy{} }},
		"nobody":           {url: "http://127.0.0.1:1", want: "refused"},
		"no such name":     {url: "http://nobody.invalid", want: "There was no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.webhook(t, c.url, func(w *flint.Webhook) { w.Verify = c.verify })
			b.rule(t.Context(), t, "r")
			b.relay(nil).all(t)
			b.deliverer(t, func(d *DelivererConfig) {
				d.Attempts = 2
				if c.policy != nil {
					c.policy(d)
				}
			})
			if e := b.ended(t, 2); !strings.Contains(e.Error, c.want) || e.Attempts != 2 {
				t.Errorf("%+v", e)
			}
			if w, err := b.Webhook(t.Context(), project, "w"); err != nil || w.Failures != 1 || w.Logs == "" {
				t.Errorf("%+v, %v", w, err)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(followed); n != 2 {
			t.Errorf("%d requests came to the receiver that redirects, want 2", n)
		}
	})
}

func TestAnUnverifiedReceiver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	url, _ := receiver(t, true, 200)
	b.webhook(t, url, nil)
	b.rule(t.Context(), t, "r")
	b.relay(nil).all(t)
	b.deliverer(t, nil)
	if e := b.ended(t, 1); e.Error != "" || e.Status != 200 {
		t.Errorf("%+v", e)
	}
}

// TestASilentReceiver takes its time; the test does not.
func TestASilentReceiver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hold) })
	b.webhook(t, s.URL, nil)
	b.rule(t.Context(), t, "r")
	b.relay(nil).all(t)
	b.deliverer(t, func(c *DelivererConfig) { c.Timeout, c.Attempts = 20*time.Millisecond, 1 })
	if e := b.ended(t, 1); e.Error != "There was no answer within 20ms." {
		t.Errorf("%+v", e)
	}
}

func TestTenFailuresDisable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	url, got := receiver(t, false, 400)
	b.webhook(t, url, nil)
	b.burst(t, flint.MaxWebhookFailures+5)
	b.relay(nil).all(t)
	d := b.deliverer(t, func(c *DelivererConfig) { c.Attempts = 1 })
	for range flint.MaxWebhookFailures {
		<-got
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if w, err := b.Webhook(t.Context(), project, "w"); err != nil || !w.Enabled {
			break
		}
	}
	if len(got) != 0 {
		t.Errorf("%d more requests", len(got))
	}
	d.Ring()
	if all, waiting, err := b.Deliveries(t.Context(), project, "w", 100); len(all) != flint.MaxWebhookFailures || waiting != 0 || err != nil {
		t.Errorf("%d deliveries, %d wait, %v", len(all), waiting, err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	d := &Deliverer{config: DelivererConfig{Backoff: 2 * time.Second}}
	for attempts, most := range map[int]time.Duration{1: 2 * time.Second, 2: 8 * time.Second, 5: 512 * time.Second, 6: longestBackoff, 1000: longestBackoff} {
		for range 100 {
			if got := d.backoff(attempts); got < 0 || got >= most {
				t.Errorf("%s after %d attempts, want less than %s", got, attempts, most)
			}
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{"a\x00b\r\n\tc\xff": "ab\n\tc", strings.Repeat("x", 5000): strings.Repeat("x", answerKept)} {
		if got := excerpt([]byte(body)); got != want {
			t.Errorf("%q", got)
		}
	}
	if !bytes.Equal([]byte(headerText("a\r\nb\x7f")), []byte("a  b ")) {
		t.Error("a name becomes more than one header")
	}
}

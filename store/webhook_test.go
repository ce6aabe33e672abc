package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// hooked is a store with an enabled webhook and a way to deliver to it.
type hooked struct {
	*bundle
	uid    int64
	cursor int64
}

func setupWebhook(t *testing.T) *hooked {
	t.Helper()
	h := &hooked{bundle: setup(t)}
	must(t, h.CreateWebhook(t.Context(), &flint.Webhook{Project: "p", ID: "w", Name: "W", URL: "http://x.test", Events: []string{"rules.*"}, Enabled: true, Secret: "s"}))
	h.life(t)
	return h
}

func (h *hooked) life(t *testing.T) {
	t.Helper()
	all, err := h.SubscribedWebhook(t.Context(), "p", "w")
	must(t, err)
	h.uid = all[0].Webhook
}

func (h *hooked) add(t *testing.T, seqs ...int64) {
	t.Helper()
	effects := &Effects{After: h.cursor, Upto: seqs[len(seqs)-1]}
	for _, seq := range seqs {
		effects.Deliveries = append(effects.Deliveries, EventDelivery{h.uid, &flint.WebhookDelivery{Seq: seq, Payload: []byte("{}")}})
	}
	must(t, h.Relay(t.Context(), effects))
	h.cursor = effects.Upto
}

func upTo(n int64) (seqs []int64) {
	for i := range n {
		seqs = append(seqs, i+1)
	}
	return seqs
}

func (h *hooked) claim(t *testing.T, want int64) *DeliveryClaim {
	t.Helper()
	c, err := h.ClaimDelivery(t.Context(), "n", time.Minute)
	must(t, err)
	switch {
	case c == nil && want != 0:
		t.Fatalf("nothing is due, want %d", want)
	case c != nil && c.Delivery.Seq != want:
		t.Fatalf("%d is due, want %d", c.Delivery.Seq, want)
	}
	return c
}

func (h *hooked) finish(t *testing.T, c *DeliveryClaim, o DeliveryOutcome) (disabled bool) {
	t.Helper()
	counted, disabled, err := h.FinishDelivery(t.Context(), c, o)
	must(t, err)
	if !counted {
		t.Fatal("a result does not count")
	}
	return disabled
}

func TestWebhookRows(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	w := &flint.Webhook{
		Project: "p", ID: "w", Name: "W", URL: "https://x.test/?a=b", Events: []string{"rules.*", "users.u.create"}, Verify: true,
		AuthUser: "me", AuthPassword: "pass", Secret: "secret", Enabled: true,
	}
	must(t, s.CreateWebhook(ctx, w))
	got, err := s.Webhook(ctx, "p", "w")
	must(t, err)
	if diff := cmp.Diff(w, got); diff != "" {
		t.Error(diff)
	}
	if err := s.CreateWebhook(ctx, w); !errors.Is(err, flint.ErrWebhookExists) {
		t.Errorf("a second of that id: %v", err)
	}
	if err := s.CreateWebhook(ctx, &flint.Webhook{Project: "nope", ID: "w"}); !errors.Is(err, flint.ErrProjectNotFound) {
		t.Errorf("of no project: %v", err)
	}
	_, err = s.UpdateWebhook(ctx, "p", "w", func(w *flint.Webhook) error { w.Name, w.Secret = "V", "other"; return nil })
	must(t, err)
	for _, q := range []flint.Query{
		{Method: "equal", Attribute: "name", Values: []any{"V"}},
		{Method: "contains", Attribute: "events", Values: []any{"users.u.create"}},
		{Method: "equal", Attribute: "tls", Values: []any{true}},
		{Method: "equal", Attribute: "attempts", Values: []any{int64(0)}},
		{Method: "equal", Attribute: "authUsername", Values: []any{"me"}},
	} {
		found, n, err := s.Webhooks(ctx, "p", flint.List{Filters: []flint.Query{q}})
		if err != nil || n != 1 || found[0].Secret != "other" {
			t.Errorf("%s: %d, %v", q.Attribute, n, err)
		}
	}
	must(t, s.DeleteWebhook(ctx, "p", "w"))
	if err := s.DeleteWebhook(ctx, "p", "w"); !errors.Is(err, flint.ErrWebhookNotFound) {
		t.Errorf("deleted again: %v", err)
	}
	events, err := s.Events(ctx, 0, 10)
	must(t, err)
	names := []string{}
	for _, e := range events[1:] {
		names = append(names, e.Names()[0])
	}
	if diff := cmp.Diff([]string{"webhooks.w.create", "webhooks.w.update", "webhooks.w.delete"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestDeliveriesInOrder(t *testing.T) {
	t.Parallel()
	h := setupWebhook(t)
	ctx := t.Context()
	h.claim(t, 0)
	h.add(t, 1, 2, 3)
	c := h.claim(t, 1)
	h.claim(t, 0) // one at a time
	h.finish(t, c, DeliveryOutcome{Error: "no", Logs: "no!", Retry: time.Now().Add(time.Hour)})
	h.finish(t, h.claim(t, 2), DeliveryOutcome{Status: 200}) // the one that waits lets others pass
	if counted, _, err := h.FinishDelivery(ctx, c, DeliveryOutcome{Status: 200}); counted || err != nil {
		t.Errorf("a late result counts, %v", err)
	}
	c = h.claim(t, 3)
	must(t, h.SettleDeliveries(ctx, "", time.Now()))
	h.claim(t, 0) // its lease has not run out
	must(t, h.SettleDeliveries(ctx, "n", time.Now()))
	if counted, _, err := h.FinishDelivery(ctx, c, DeliveryOutcome{Status: 200}); counted || err != nil {
		t.Errorf("the result of a lost claim counts, %v", err)
	}
	c = h.claim(t, 3)
	if c.Delivery.Attempts != 2 {
		t.Errorf("%d attempts", c.Delivery.Attempts)
	}
	h.finish(t, c, DeliveryOutcome{Status: 204})
	h.claim(t, 0)
	if at, err := h.NextDelivery(ctx); err != nil || time.Until(at) < 59*time.Minute {
		t.Errorf("the next is due at %v, %v", at, err)
	}
	all, waiting, err := h.Deliveries(ctx, "p", "w", 10)
	must(t, err)
	if waiting != 1 || len(all) != 3 || all[0].Status != 204 || all[2].Error != "no" || !all[2].EndedAt.IsZero() || len(all[0].Payload) != 0 {
		t.Errorf("%d wait of %+v", waiting, all)
	}
	if w, _ := h.Webhook(ctx, "p", "w"); w.Logs != "no!" || w.Failures != 0 {
		t.Errorf("%+v", w)
	}
}

func TestAWebhookThatFailsTooOftenIsDisabled(t *testing.T) {
	t.Parallel()
	h := setupWebhook(t)
	ctx := t.Context()
	failure := DeliveryOutcome{Status: 500, Error: "no", Logs: "why"}
	const most = flint.MaxWebhookFailures
	h.add(t, upTo(2*most+1)...)
	for i := int64(1); i < 2*most; i++ {
		o := failure
		if i == most {
			o = DeliveryOutcome{Status: 200} // they must be in a row
		}
		if h.finish(t, h.claim(t, i), o) {
			t.Fatalf("disabled after %d", i)
		}
	}
	if !h.finish(t, h.claim(t, 2*most), failure) { // those that wait are dropped
		t.Error("it is not disabled")
	}
	w, err := h.Webhook(ctx, "p", "w")
	must(t, err)
	if w.Enabled || w.Failures != flint.MaxWebhookFailures || w.Logs != "why" {
		t.Errorf("%+v", w)
	}
	h.claim(t, 0)
	h.add(t, 200) // nothing is for it
	h.claim(t, 0)
	events, err := h.Events(ctx, 0, 100)
	must(t, err)
	if last := events[len(events)-1]; last.Names()[0] != "webhooks.w.update" {
		t.Errorf("the last event is %s", last.Names()[0])
	}
	w, err = h.UpdateWebhook(ctx, "p", "w", func(w *flint.Webhook) error { w.Enabled = true; return nil })
	must(t, err)
	if w.Failures != 0 {
		t.Errorf("%d failures of one that begins anew", w.Failures)
	}
	h.add(t, 300)
	h.claim(t, 300)
}

func TestDeliveriesHaveBounds(t *testing.T) {
	t.Parallel()
	h := setupWebhook(t)
	ctx := t.Context()
	h.add(t, upTo(flint.MaxWebhookHistory+10)...)
	for i := range int64(flint.MaxWebhookHistory + 10) {
		h.finish(t, h.claim(t, i+1), DeliveryOutcome{Status: 200})
	}
	all, waiting, err := h.Deliveries(ctx, "p", "w", 1000)
	must(t, err)
	if len(all) != flint.MaxWebhookHistory || waiting != 0 || all[len(all)-1].Seq != 11 {
		t.Errorf("%d are remembered, %d wait", len(all), waiting)
	}
	many := &Effects{After: h.cursor, Upto: 20_000}
	for i := range int64(flint.MaxWebhookWaiting + 5) {
		many.Deliveries = append(many.Deliveries, EventDelivery{h.uid, &flint.WebhookDelivery{Seq: 1000 + i}})
	}
	must(t, h.Relay(ctx, many))
	all, waiting, err = h.Deliveries(ctx, "p", "w", 1)
	must(t, err)
	if waiting != flint.MaxWebhookWaiting || all[0].Error != tooManyWait || all[0].EndedAt.IsZero() {
		t.Errorf("%d wait, the last %+v", waiting, all[0])
	}
	c := h.claim(t, 1000)
	_, err = h.UpdateWebhook(ctx, "p", "w", func(w *flint.Webhook) error { w.Enabled = false; return nil })
	must(t, err)
	h.finish(t, c, DeliveryOutcome{Status: 200}) // it was on its way
	if _, waiting, err = h.Deliveries(ctx, "p", "w", 1); waiting != 0 || err != nil {
		t.Errorf("%d wait for a webhook that is off, %v", waiting, err)
	}
	must(t, h.DeleteWebhook(ctx, "p", "w"))
	must(t, h.CreateWebhook(ctx, &flint.Webhook{Project: "p", ID: "w", Events: []string{"rules.*"}, Enabled: true}))
	if all, _, err = h.Deliveries(ctx, "p", "w", 10); len(all) != 0 || err != nil {
		t.Errorf("a new webhook has the deliveries of its namesake: %v, %v", all, err)
	}
}

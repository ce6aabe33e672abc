package admin

import (
	"testing"

	"flint"
	"flint/store"
)

func TestWebhooks(t *testing.T) {
	t.Parallel()
	c, s := setup(t, nil)
	ctx := t.Context()
	if err := s.CreateWebhook(ctx, &flint.Webhook{Project: "p", ID: "w", Name: "W", URL: "http://x.test", Events: []string{"rules.*"}, Enabled: true, Secret: "hidden", AuthPassword: "hidden"}); err != nil {
		t.Fatal(err)
	}
	life, err := s.SubscribedWebhook(ctx, "p", "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Relay(ctx, &store.Effects{Upto: 7, Deliveries: []store.EventDelivery{{Webhook: life[0].Webhook, Delivery: &flint.WebhookDelivery{Seq: 7, Names: "rules.r.create,rules.*"}}}}); err != nil {
		t.Fatal(err)
	}
	all, err := c.Webhooks(ctx, "p")
	if err != nil || len(all) != 1 || all[0].ID != "w" || all[0].Waiting != 1 || all[0].Deliveries != nil {
		t.Errorf("%+v, %v", all, err)
	}
	one, err := c.Webhook(ctx, "p", "w", 10)
	if err != nil || len(one.Deliveries) != 1 || one.Deliveries[0].Event != "rules.r.create" || one.Deliveries[0].DueAt.IsZero() {
		t.Errorf("%+v, %v", one, err)
	}
	for id, limit := range map[string]int{"nope": 1, "w": -1} {
		if _, err := c.Webhook(ctx, "p", id, limit); err == nil {
			t.Errorf("%s with %d deliveries is shown", id, limit)
		}
	}
	if all, err := c.Webhooks(ctx, "nope"); err == nil {
		t.Errorf("of no project: %v", all)
	}
}

package server

import (
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"flint/bus"
	"flint/config"
	"flint/feed"
	"flint/internal/outward"
	"flint/invoke"
	"flint/store"
	"flint/trigger"
)

// triggers makes what reads events, and what tells webhooks of them.
func triggers(c config.Config, db *store.Store, invoker *invoke.Invoker, activity *feed.Feed, messages *bus.Bus, logger *slog.Logger, registry prometheus.Registerer, node string) (*trigger.Relay, *trigger.Deliverer) {
	deliverer := trigger.NewDeliverer(trigger.DelivererConfig{
		Store: db, Logger: logger, Registry: registry, Node: node, Policy: outward.Policy{Allow: c.WebhookAllow},
	})
	return trigger.New(trigger.Config{
		Store: db, Invoker: invoker, Logger: logger, Registry: registry, Observe: activity.Publish, Publish: messages.PublishEvents, Delivered: deliverer.Ring, MaxHops: c.TriggerHops,
	}), deliverer
}

// receivers returns what refuses the addresses that a webhook may not have. Who develops may write any: what is delivered
// to is looked at all the same.
func receivers(c config.Config) func(netip.Addr) error {
	if c.Environment == "development" {
		return nil
	}
	return outward.Policy{Allow: c.WebhookAllow}.Check
}

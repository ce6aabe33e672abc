package trigger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	relayed, aside, gone, unseen, matched prometheus.Counter
	runs                                  *prometheus.CounterVec
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func newMetrics(r prometheus.Registerer, lag func() time.Duration) *metrics {
	m := &metrics{
		relayed: counter("flint_events_relayed_total", "Events that have had their effects."),
		aside:   counter("flint_events_set_aside_total", "Events that had no effects, or not for all, because they could not be relayed."),
		gone:    counter("flint_events_gone_total", "Events of executions that were deleted before they were relayed."),
		unseen:  counter("flint_events_unpublished_total", "Events that those who watch did not get."),
		matched: counter("flint_webhook_matches_total", "Deliveries that events led to."),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_event_runs_total", Help: "Executions that events led to: queued, or cut because the chain of triggers was too long.",
		}, []string{"outcome"}),
	}
	behind := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flint_events_lag_seconds", Help: "How long the oldest event that was not relayed has waited. Such events are not removed.",
	}, func() float64 { return lag().Seconds() })
	r.MustRegister(m.relayed, m.aside, m.gone, m.unseen, m.matched, m.runs, behind)
	return m
}

// deliveryMetrics are those of webhooks.
type deliveryMetrics struct {
	outcomes *prometheus.CounterVec
	seconds  prometheus.Histogram
	disabled prometheus.Counter
}

func newDeliveryMetrics(r prometheus.Registerer) *deliveryMetrics {
	m := &deliveryMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_webhook_attempts_total", Help: "Attempts to deliver to webhooks: delivered, failed and to be tried again, or given up.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "flint_webhook_attempt_seconds", Help: "Time of attempts to deliver to webhooks.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}),
		disabled: counter("flint_webhooks_disabled_total", "Webhooks that were disabled because they failed too often."),
	}
	r.MustRegister(m.outcomes, m.seconds, m.disabled)
	return m
}

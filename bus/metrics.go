package bus

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connected             prometheus.Gauge
	reconnects, missed    prometheus.Counter
	bytes, messages, last *prometheus.GaugeVec
	errors                *prometheus.CounterVec
	latency               prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	stream := []string{"stream"}
	m := &metrics{
		connected:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "flint_bus_connected", Help: "1 while the bus can be reached."}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_bus_reconnects_total", Help: "How often the bus was reached again."}),
		missed:     prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_bus_missed_total", Help: "How often messages of others may have been missed."}),
		bytes:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "flint_bus_stream_bytes", Help: "Bytes that a stream holds."}, stream),
		messages:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "flint_bus_stream_messages", Help: "Messages that a stream holds."}, stream),
		last:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "flint_bus_stream_last_sequence", Help: "Number of the newest message of a stream."}, stream),
		errors:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flint_bus_publish_errors_total", Help: "Messages, or batches of events, that were not sent."}, []string{"kind"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "flint_bus_publish_seconds", Help: "From a batch of events to its last acknowledgement.",
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3},
		}),
	}
	if registry != nil {
		registry.MustRegister(m.connected, m.reconnects, m.missed, m.bytes, m.messages, m.last, m.errors, m.latency)
	}
	return m
}

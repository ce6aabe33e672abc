package realtime

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections         prometheus.Gauge
	sent, slow, refused prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "flint_realtime_connections", Help: "Clients that are connected by WebSocket."}),
		sent:        prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_realtime_messages_total", Help: "Messages sent to them."}),
		slow:        prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_realtime_slow_total", Help: "Connections that were closed because the client did not keep up."}),
		refused:     prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_realtime_refused_total", Help: "Connections that were refused."}),
	}
	if registry != nil {
		registry.MustRegister(m.connections, m.sent, m.slow, m.refused)
	}
	return m
}

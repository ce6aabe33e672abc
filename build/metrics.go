package build

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ builds *prometheus.CounterVec }

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{builds: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flint_builds_total", Help: "Finished builds.",
	}, []string{"runtime", "status"})}
	r.MustRegister(m.builds)
	return m
}

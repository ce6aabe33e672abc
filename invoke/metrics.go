package invoke

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/worker"
)

type metrics struct {
	executions *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	cold       *prometheus.CounterVec
	late       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_executions_total", Help: "Finished executions.",
		}, []string{"runtime", "trigger", "status", "class"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flint_execution_seconds", Help: "Time from the request to the end of the response.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		}, []string{"runtime"}),
		cold: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_cold_executions_total", Help: "Executions that waited for a worker to start.",
		}, []string{"runtime"}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flint_late_results_total", Help: "Results of lost attempts that were dropped.",
		}),
	}
	r.MustRegister(m.executions, m.duration, m.cold, m.late)
	return m
}

func (m *metrics) finished(runtime string, e *flint.Execution, response *worker.Response) {
	m.executions.WithLabelValues(runtime, string(e.Trigger), string(e.Status), strconv.Itoa(e.StatusCode/100)+"xx").Inc()
	m.duration.WithLabelValues(runtime).Observe(e.Duration)
	if response != nil && response.Stats.Cold {
		m.cold.WithLabelValues(runtime).Inc()
	}
}

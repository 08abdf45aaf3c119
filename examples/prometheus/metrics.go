package main

import (
	"github.com/lictor-go/consul/discovery"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what happens in package discovery.
type metrics struct {
	registered  *prometheus.GaugeVec
	beatsFailed *prometheus.CounterVec
	healed      *prometheus.CounterVec
	healing     *prometheus.HistogramVec
	watchErrors *prometheus.CounterVec
	resets      *prometheus.CounterVec
	instances   *prometheus.GaugeVec
	changes     *prometheus.CounterVec
}

// newMetrics returns metrics that are registered with r.
func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "consul", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "consul", Name: name, Help: help}, labels)
	}
	m := &metrics{
		registered:  gauge("registered", "Whether the service is registered.", "service", "id"),
		beatsFailed: counter("heartbeats_failed_total", "Heartbeats that failed.", "service", "id"),
		healed:      counter("healed_total", "Times that a registration was put in order again.", "service", "id", "reason"),
		healing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "consul", Name: "healing_seconds", Help: "How long a registration was out of order.",
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 8),
		}, []string{"service"}),
		watchErrors: counter("watch_errors_total", "Queries of watches that failed.", "watch"),
		resets:      counter("watch_index_resets_total", "Times that the index of a watch went down.", "watch"),
		instances:   gauge("instances", "Healthy instances of a service.", "service"),
		changes:     counter("instance_changes_total", "Instances that came, went or changed.", "service", "change"),
	}
	r.MustRegister(m.registered, m.beatsFailed, m.healed, m.healing, m.watchErrors, m.resets, m.instances, m.changes)
	return m
}

// observe is an OnEvent for the options of package discovery.
func (m *metrics) observe(e discovery.Event) {
	switch e := e.(type) {
	case discovery.RegisteredEvent:
		m.registered.WithLabelValues(e.Service, e.ID).Set(1)
	case discovery.DeregisteredEvent:
		if e.Err == nil {
			m.registered.WithLabelValues(e.Service, e.ID).Set(0)
		}
	case discovery.HeartbeatFailedEvent:
		m.beatsFailed.WithLabelValues(e.Service, e.ID).Inc()
	case discovery.HealedEvent:
		m.healed.WithLabelValues(e.Service, e.ID, string(e.Reason)).Inc()
		m.healing.WithLabelValues(e.Service).Observe(e.Took.Seconds())
	case discovery.WatchErrorEvent:
		m.watchErrors.WithLabelValues(e.Watch).Inc()
	case discovery.IndexResetEvent:
		m.resets.WithLabelValues(e.Watch).Inc()
	case discovery.InstancesChangedEvent:
		m.instances.WithLabelValues(e.Service).Set(float64(e.Total))
		m.changes.WithLabelValues(e.Service, "added").Add(float64(e.Added))
		m.changes.WithLabelValues(e.Service, "removed").Add(float64(e.Removed))
		m.changes.WithLabelValues(e.Service, "changed").Add(float64(e.Changed))
	}
}

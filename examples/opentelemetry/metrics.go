package main

import (
	"context"
	"errors"

	"github.com/lictor-go/consul/discovery"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics records what happens in package discovery.
type metrics struct {
	beatsFailed metric.Int64Counter
	healed      metric.Float64Histogram
	watchErrors metric.Int64Counter
	resets      metric.Int64Counter
	instances   metric.Int64Gauge
	changes     metric.Int64Counter
}

// newMetrics returns metrics that are made with meter.
func newMetrics(meter metric.Meter) (*metrics, error) {
	var m metrics
	var errs [6]error
	m.beatsFailed, errs[0] = meter.Int64Counter("consul.heartbeats.failed", metric.WithDescription("Heartbeats that failed."))
	m.healed, errs[1] = meter.Float64Histogram("consul.healing.time", metric.WithUnit("s"), metric.WithDescription("How long a registration was out of order."))
	m.watchErrors, errs[2] = meter.Int64Counter("consul.watch.errors", metric.WithDescription("Queries of watches that failed."))
	m.resets, errs[3] = meter.Int64Counter("consul.watch.resets", metric.WithDescription("Times that the index of a watch went down."))
	m.instances, errs[4] = meter.Int64Gauge("consul.instances", metric.WithDescription("Healthy instances of a service."))
	m.changes, errs[5] = meter.Int64Counter("consul.instances.changes", metric.WithDescription("Instances that came, went or changed."))
	return &m, errors.Join(errs[:]...)
}

// observe is an OnEvent for the options of package discovery.
func (m *metrics) observe(e discovery.Event) {
	ctx := context.Background()
	with := func(pairs ...string) metric.MeasurementOption {
		var list []attribute.KeyValue
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, attribute.String(pairs[i], pairs[i+1]))
		}
		return metric.WithAttributes(list...)
	}
	switch e := e.(type) {
	case discovery.HeartbeatFailedEvent:
		m.beatsFailed.Add(ctx, 1, with("service", e.Service, "id", e.ID))
	case discovery.HealedEvent:
		m.healed.Record(ctx, e.Took.Seconds(), with("service", e.Service, "id", e.ID, "reason", string(e.Reason)))
	case discovery.WatchErrorEvent:
		m.watchErrors.Add(ctx, 1, with("watch", e.Watch))
	case discovery.IndexResetEvent:
		m.resets.Add(ctx, 1, with("watch", e.Watch))
	case discovery.InstancesChangedEvent:
		m.instances.Record(ctx, int64(e.Total), with("service", e.Service))
		m.changes.Add(ctx, int64(e.Added), with("service", e.Service, "change", "added"))
		m.changes.Add(ctx, int64(e.Removed), with("service", e.Service, "change", "removed"))
		m.changes.Add(ctx, int64(e.Changed), with("service", e.Service, "change", "changed"))
	}
}

package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/lictor-go/consul"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traced returns cfg with a span for each request to the agent. otelhttp records no
// headers, so that the token does not get into the traces.
func traced(cfg consul.Config, provider trace.TracerProvider) consul.Config {
	cfg.WrapTransport = func(base http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(base,
			otelhttp.WithTracerProvider(provider),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
				return r.Method + " " + r.URL.Path
			}))
	}
	return cfg
}

// printer exports spans by printing them.
type printer struct {
	out *log.Logger
}

func (p printer) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	for _, s := range spans {
		p.out.Printf("span %s took %s: %v", s.Name(), s.EndTime().Sub(s.StartTime()).Round(time.Microsecond), s.Attributes())
	}
	return nil
}

func (printer) Shutdown(context.Context) error { return nil }

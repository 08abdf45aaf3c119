package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

const (
	defaultProbeTimeout = 10 * time.Second
	maxProbeBody        = 64 << 20 // of a response that is read
)

// startProbe starts running an HTTP, TCP or UDP check at its interval, until the
// agent ends or the returned function is called. The first run is at a random moment of
// the first interval. It returns nil if the check is of another kind, or if the
// agent has ended.
func startProbe(c *Check) (stop context.CancelFunc) {
	if c.a.run.Over() {
		return nil
	}
	var run func(ctx context.Context) (status, output string)
	switch c.Rec.Type {
	case "http":
		run = httpProbe(c)
	case "tcp":
		run = tcpProbe(c)
	case "udp":
		run = udpProbe(c)
	default:
		return nil
	}
	ctx, stop := context.WithCancel(c.a.run)
	interval := c.def.Interval.D // the definition may be replaced by one that is run otherwise
	c.a.host.Probes.Add(1)
	go func() {
		defer c.a.host.Probes.Done()
		wait := rand.N(interval)
		for {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			status, output := run(ctx)
			c.recordRun(ctx, status, output)
			wait = interval
		}
	}()
	return stop
}

// probeTimeout returns how long a run may take.
func (c *Check) probeTimeout() time.Duration {
	if c.def.Timeout.D > 0 {
		return c.def.Timeout.D
	}
	return defaultProbeTimeout
}

// recordRun notes the result of a run, unless the check is gone.
func (c *Check) recordRun(ctx context.Context, status, output string) {
	c.a.host.Lock.Lock()
	defer c.a.host.Lock.Unlock()
	if ctx.Err() != nil || !c.current() {
		return
	}
	if status = c.thresholdStatus(status); status == "" {
		return
	}
	c.setStatus(status, output)
	c.a.SyncChanges()
}

// thresholdStatus returns the status that follows from a run and the ones before it, or
// "" if it takes more of the same.
func (c *Check) thresholdStatus(status string) string {
	if status == string(consul.HealthCritical) {
		c.failures, c.successes = c.failures+1, 0
		if c.failures > c.def.FailuresBeforeCritical {
			return status
		}
		if c.def.FailuresBeforeWarning > 0 && c.failures > c.def.FailuresBeforeWarning {
			return string(consul.HealthWarning)
		}
		return ""
	}
	c.successes, c.failures = c.successes+1, 0
	if c.successes > c.def.SuccessBeforePassing {
		return status
	}
	return ""
}

// httpProbe returns a run of an HTTP check: 2xx passes, 429 warns.
func httpProbe(c *Check) func(ctx context.Context) (status, output string) {
	def := c.def
	client := &http.Client{Timeout: c.probeTimeout(), Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: def.TLSSkipVerify, ServerName: def.TLSServerName},
	}}
	if def.DisableRedirects {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	method := def.Method
	if method == "" {
		method = http.MethodGet
	}
	keep := def.OutputMaxSize
	if keep == 0 {
		keep = DefaultMaxOutput
	}
	return func(ctx context.Context) (string, string) {
		critical := string(consul.HealthCritical)
		req, err := http.NewRequestWithContext(ctx, method, def.HTTP, strings.NewReader(def.Body))
		if err != nil {
			return critical, err.Error()
		}
		req.Header.Set("User-Agent", "Consul Health Check")
		req.Header.Set("Accept", "text/plain, text/*, */*")
		for name, values := range def.Header {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		resp, err := client.Do(req)
		if err != nil {
			return critical, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody))
		if err != nil {
			return critical, err.Error()
		}
		if len(body) > keep {
			body = body[len(body)-keep:]
		}
		output := fmt.Sprintf("HTTP %s %s: %s Output: %s", method, def.HTTP, resp.Status, body)
		switch {
		case resp.StatusCode >= 200 && resp.StatusCode <= 299:
			return string(consul.HealthPassing), output
		case resp.StatusCode == http.StatusTooManyRequests:
			return string(consul.HealthWarning), output
		}
		return critical, output
	}
}

// tcpProbe returns a run of a TCP check: to connect is enough.
func tcpProbe(c *Check) func(ctx context.Context) (status, output string) {
	address := c.def.TCP
	dialer := &net.Dialer{Timeout: c.probeTimeout()}
	return func(ctx context.Context) (string, string) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return string(consul.HealthCritical), err.Error()
		}
		conn.Close()
		return string(consul.HealthPassing), "TCP connect " + address + ": Success"
	}
}

// udpProbe returns a run of a UDP check: silence is as good as a response, only a
// refusal is not.
func udpProbe(c *Check) func(ctx context.Context) (status, output string) {
	address, timeout, sent := c.def.UDP, c.probeTimeout(), c.Rec.ServiceID
	dialer := &net.Dialer{Timeout: timeout}
	return func(ctx context.Context) (string, string) {
		critical := string(consul.HealthCritical)
		conn, err := dialer.DialContext(ctx, "udp", address)
		if err != nil {
			return critical, err.Error()
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		conn.SetDeadline(time.Now().Add(timeout))
		if _, err := io.WriteString(conn, sent); err != nil {
			return critical, err.Error()
		}
		_, err = conn.Read(make([]byte, 1))
		var wait net.Error
		if err != nil && !(errors.As(err, &wait) && wait.Timeout()) {
			return critical, err.Error()
		}
		return string(consul.HealthPassing), "UDP connect " + address + ": Success"
	}
}

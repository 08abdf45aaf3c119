package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// demonstrate runs the gateway in front of two services, lets instances fail, and prints
// what becomes of the requests.
func demonstrate(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d := &demo{out: out, start: time.Now(), agent: consulmock.NewServer(), instances: map[string]*http.Server{}}
	defer d.agent.Close()
	defer func() {
		for _, server := range d.instances {
			server.Close()
		}
	}()
	for _, id := range []string{"shop-1", "shop-2", "billing-1"} {
		if err := d.register(id); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- serve(serving, d.agent.Client(), listener, "public", nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	}()
	d.url = "http://" + listener.Addr().String()
	d.printf("gateway", "listens at %s, follows the services with the tag public", d.url)
	err = d.play(ctx)
	stop()
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return err
}

// demo is a fake agent with services, and a gateway in front of them.
type demo struct {
	out       io.Writer
	start     time.Time
	agent     *consulmock.Server
	instances map[string]*http.Server // by their ID
	url       string                  // of the gateway
}

// play lets instances fail, and sends requests.
func (d *demo) play(ctx context.Context) error {
	if err := d.await(ctx, "/shop/cart", http.StatusOK); err != nil { // until the routes are known
		return err
	}
	if err := d.request(ctx, "/shop/cart", 3); err != nil {
		return err
	}
	d.instances["shop-1"].Close()
	d.printf("fail", "shop-1 accepts no connections; the agent has not noticed")
	if err := d.request(ctx, "/shop/cart", 3); err != nil {
		return err
	}
	if err := d.request(ctx, "/billing/", 1); err != nil {
		return err
	}
	d.agent.SetCheckStatus("service:billing-1", consul.HealthCritical, "disk full")
	d.printf("fail", "billing-1 is critical: disk full")
	if err := d.await(ctx, "/billing/", http.StatusServiceUnavailable); err != nil {
		return err
	}
	d.agent.SetCheckStatus("service:billing-1", consul.HealthPassing, "")
	d.printf("recover", "billing-1 is passing")
	if err := d.await(ctx, "/billing/", http.StatusOK); err != nil {
		return err
	}
	return d.await(ctx, "/unknown/", http.StatusNotFound)
}

// register starts an instance and registers it.
func (d *demo) register(id string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s has served %s", id, r.URL.Path)
	})}
	d.instances[id] = server
	go server.Serve(listener)
	service, _, _ := strings.Cut(id, "-")
	addr := listener.Addr().(*net.TCPAddr)
	d.agent.AddService(&consul.AgentServiceRegistration{
		ID: id, Name: service, Address: addr.IP.String(), Port: addr.Port, Tags: []string{"public"},
		Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
	})
	d.printf("register", "%s at %s", id, addr)
	return nil
}

// request sends requests to the gateway, all of which have to succeed.
func (d *demo) request(ctx context.Context, path string, times int) error {
	for range times {
		status, text, err := get(ctx, d.url+path)
		if err != nil {
			return err
		}
		d.printf("request", "%s: %d %s", path, status, text)
		if status != http.StatusOK {
			return fmt.Errorf("%s: status %d, want 200", path, status)
		}
	}
	return nil
}

// await sends requests to the gateway until one has the status, and prints that one.
func (d *demo) await(ctx context.Context, path string, want int) error {
	for {
		status, text, err := get(ctx, d.url+path)
		if err != nil {
			return err
		}
		if status == want {
			d.printf("request", "%s: %d %s", path, status, text)
			return nil
		}
	}
}

// get returns the status and the body of a response.
func get(ctx context.Context, url string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// printf prints a line of the timeline.
func (d *demo) printf(what, format string, args ...any) {
	fmt.Fprintf(d.out, "%6.3fs  %-8s  %s\n", time.Since(d.start).Seconds(), what, fmt.Sprintf(format, args...))
}

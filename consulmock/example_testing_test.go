package consulmock_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// The tests of this file and of example_virtual_test.go are those of
// docs/testing.md and docs/recording.md.

// shop is what is tested here. It takes orders if there is somebody to pay.
type shop struct {
	consul *consul.Client
}

var errClosed = errors.New("the shop is closed")

func (s *shop) order(ctx context.Context) error {
	entries, _, err := s.consul.Health().Service(ctx, "payment", &consul.QueryOptions{PassingOnly: true})
	if err == nil && len(entries) == 0 {
		err = errClosed
	}
	return err
}

func TestNobodyToPay(t *testing.T) {
	agent := consulmock.New(t) // ends with the test
	agent.AddService(&consul.AgentServiceRegistration{
		Name: "payment", Address: "127.0.0.1", Port: 9090,
		Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
	})
	shop := &shop{agent.Client()}
	if err := shop.order(context.Background()); err != nil {
		t.Error(err)
	}
	agent.SetCheckStatus("service:payment", consul.HealthCritical, "out of order")
	if err := shop.order(context.Background()); err != errClosed {
		t.Errorf("got %v, want %v", err, errClosed)
	}
	for _, r := range agent.Requests() {
		t.Log(r.Method, r.Path, r.Status)
	}
}

func TestNoLeader(t *testing.T) {
	agent := consulmock.New(t)
	agent.Inject(consulmock.Fault{Path: "/v1/health/service/*", Times: 2, NoLeader: true})
	shop := &shop{agent.Client()}
	for range 2 {
		if err := shop.order(context.Background()); !errors.Is(err, consul.ErrNoLeader) {
			t.Errorf("got %v", err)
		}
	}
	if err := shop.order(context.Background()); err != errClosed {
		t.Errorf("got %v", err)
	}
}

func TestWaitsForPayment(t *testing.T) {
	agent := consulmock.New(t)
	waits := &consulmock.Observer{}
	agent.Inject(consulmock.Fault{Path: "/v1/health/service/payment", Skip: 1, Always: true, Observe: waits})
	go func() {
		waits.Wait(1, nil) // the second query is there, which waits
		agent.AddService(&consul.AgentServiceRegistration{Name: "payment"})
	}()
	for entries, err := range discovery.WatchService(context.Background(), agent.Client(), "payment", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1 {
			break
		}
	}
}

func TestRecordedLeader(t *testing.T) {
	agent := consulmock.Replay(t, "testdata/status-1.8.7.har")
	leader, err := agent.Client().Status().Leader(context.Background())
	if err != nil || leader != "127.0.0.1:19503" {
		t.Errorf("got %q, %v", leader, err)
	}
}

func TestManyServices(t *testing.T) {
	agent := consulmock.New(t)
	front := httptest.NewUnstartedServer(agent.Handler())
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	roots := x509.NewCertPool()
	roots.AddCert(front.Certificate())
	client, err := consul.NewClient(consul.Config{
		Address: front.URL,
		TLS:     consul.TLSConfig{Base: &tls.Config{RootCAs: roots}},
	})
	if err != nil {
		t.Fatal(err)
	}
	resolver := discovery.NewResolver(client, nil)
	defer resolver.Close()
	for i := range 150 {
		name := "service-" + strconv.Itoa(i)
		agent.AddService(&consul.AgentServiceRegistration{Name: name, Port: 8080})
		if _, err := resolver.Pick(context.Background(), name); err != nil {
			t.Error(err)
		}
	}
}

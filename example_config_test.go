package consul_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// ConfigFromEnv reads the variables of Consul's own tools.
func ExampleConfigFromEnv() {
	os.Setenv("CONSUL_HTTP_ADDR", "https://consul.example:8501")
	defer os.Unsetenv("CONSUL_HTTP_ADDR")
	os.Setenv("CONSUL_HTTP_SSL_VERIFY", "perhaps")
	defer os.Unsetenv("CONSUL_HTTP_SSL_VERIFY")

	_, err := consul.ConfigFromEnv()
	fmt.Println(err)
	os.Setenv("CONSUL_HTTP_SSL_VERIFY", "true")
	cfg, err := consul.ConfigFromEnv()
	fmt.Println(cfg.Address, err)
	// Output:
	// consul: CONSUL_HTTP_SSL_VERIFY: "perhaps" is not a boolean; want true or false
	// https://consul.example:8501 <nil>
}

// A program takes its address, its token and TLS from the environment, and an address
// from its own configuration if there is one.
func ExampleConfigFromEnv_override() {
	os.Setenv("CONSUL_HTTP_SSL", "true")
	defer os.Unsetenv("CONSUL_HTTP_SSL")
	os.Setenv("CONSUL_HTTP_TOKEN_FILE", "/run/secrets/consul")
	defer os.Unsetenv("CONSUL_HTTP_TOKEN_FILE")

	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	cfg.Address = "consul.example:8501"      // CONSUL_HTTP_SSL still counts: Scheme is https
	cfg.Token, cfg.TokenFile = "a-token", "" // a file would win over a token
	client, err := consul.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client)
	// Output: consul.Client{https://consul.example:8501}
}

// Copies of a client share its connections.
func ExampleClient() {
	agent := consulmock.NewServer(consulmock.WithTokens(consulmock.ServiceToken("for-web", "web")))
	defer agent.Close()
	ctx := context.Background()

	client := agent.Client()
	err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"})
	fmt.Println(errors.Is(err, consul.ErrPermissionDenied))
	err = client.WithToken("for-web").Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"})
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// The agent's certificate is checked against an authority of one's own, here one
// in memory.
func ExampleTLSConfig() {
	fake := consulmock.NewServer()
	defer fake.Close()
	agent := httptest.NewTLSServer(fake.Handler())
	defer agent.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: agent.Certificate().Raw})

	client, err := consul.NewClient(consul.Config{
		Address: agent.URL, // https://127.0.0.1:...
		TLS:     consul.TLSConfig{CAPEM: authority},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
	fmt.Println(client.Status().Leader(context.Background()))
	// Output: 127.0.0.1:8300 <nil>
}

// A RoundTripper around the client's sees every request: for traces, metrics or
// signatures.
func ExampleConfig_wrapTransport() {
	agent := consulmock.NewServer()
	defer agent.Close()

	client, err := consul.NewClient(consul.Config{
		Address: agent.URL(),
		WrapTransport: func(base http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(r)
				if err == nil {
					fmt.Println(r.Method, r.URL.Path, resp.StatusCode)
				}
				return resp, err
			})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
	client.Agent().Reload(context.Background())
	// Output: PUT /v1/agent/reload 200
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

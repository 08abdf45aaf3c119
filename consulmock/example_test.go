package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A test puts services into the fake, changes their health, and looks at what the
// program under test finds.
func Example() {
	agent := consulmock.NewServer() // in a test: consulmock.New(t)
	defer agent.Close()
	for _, port := range []int{8080, 8081} {
		agent.AddService(&consul.AgentServiceRegistration{
			ID: fmt.Sprint("web-", port), Name: "web", Port: port,
			Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
		})
	}
	agent.SetCheckStatus("service:web-8080", consul.HealthCritical, "draining")

	entries, _, err := agent.Client().Health().Service(context.Background(), "web", &consul.QueryOptions{PassingOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Println(e.Service.ID, e.Service.Port)
	}
	// Output:
	// web-8081 8081
}

// Requests tells what the program under test has asked.
func ExampleServer_Requests() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()
	ctx := context.Background()
	client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Port: 8080})
	client.Agent().PassTTL(ctx, "service:web", "")

	for _, r := range agent.Requests() {
		fmt.Println(r.Method, r.Path, r.Status)
	}
	// Output:
	// PUT /v1/agent/service/register 200
	// PUT /v1/agent/check/pass/service:web 404
}

// The fake has access control once it has tokens.
func ExampleWithTokens() {
	agent := consulmock.NewServer(consulmock.WithTokens(
		consulmock.ManagementToken("for-operators"),
		consulmock.ServiceToken("for-web", "web"),
	))
	defer agent.Close()
	client := agent.Client().WithToken("for-web")
	for _, name := range []string{"web", "db"} {
		err := client.Agent().ServiceRegister(context.Background(), &consul.AgentServiceRegistration{Name: name})
		fmt.Println(name, errors.Is(err, consul.ErrPermissionDenied))
	}
	// Output:
	// web false
	// db true
}

// URL is for programs in any language.
func ExampleServer_URL() {
	agent := consulmock.NewServer()
	defer agent.Close()
	resp, err := http.Get(agent.URL() + "/v1/status/leader")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 200 OK
}

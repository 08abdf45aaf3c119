package main

import (
	"context"
	"strings"
	"testing"

	"github.com/lictor-go/consul/consulmock"
)

func TestRun(t *testing.T) {
	agent := consulmock.New(t)
	var out strings.Builder
	if err := run(context.Background(), agent.Client(), &out); err != nil {
		t.Fatal(err)
	}
	const want = `every service:
  demo-db     demo-db   10.0.0.3:5432  tags []
  demo-web-1  demo-web  10.0.0.1:80  tags [v1]
  demo-web-2  demo-web  10.0.0.2:80  tags [v2]
the service demo-db:
  demo-db     demo-db   10.0.0.3:5432  tags []
the service demo-none: not found
those with Service == "demo-web":
  demo-web-1  demo-web  10.0.0.1:80  tags [v1]
  demo-web-2  demo-web  10.0.0.2:80  tags [v2]
those with "v2" in Tags and Meta.zone == "b":
  demo-web-2  demo-web  10.0.0.2:80  tags [v2]
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	services, err := agent.Client().Agent().Services(context.Background(), nil)
	if err != nil || len(services) != 0 {
		t.Errorf("left behind: %v, %v", services, err)
	}
}

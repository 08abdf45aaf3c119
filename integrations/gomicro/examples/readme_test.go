package examples

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro"
	_ "github.com/lictor-go/consul/integrations/gomicro/register"
)

// The functions up to the first test are those of the registry's README.md, which
// TestSnippets compares.

func greeter() micro.Service {
	service := micro.NewService(
		micro.Name("greeter"),
		micro.Registry(gomicro.NewRegistry()),
	)
	return service
}

func initialize(service micro.Service) {
	service.Init()
	service.Init(micro.RegisterInterval(5*time.Second), micro.RegisterTTL(15*time.Second))
}

type database interface{ PingContext(context.Context) error }

func withHealth(db database) registry.Registry {
	r := gomicro.NewRegistry(gomicro.Health(func(ctx context.Context) (consul.HealthStatus, string) {
		if err := db.PingContext(ctx); err != nil {
			return consul.HealthCritical, err.Error() // the note is in Consul's check
		}
		return consul.HealthPassing, ""
	}))
	return r
}

// plain returns the text of a file.
func plain(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestNamedTests checks that the tests exist that README.md names: functions in the
// file that is given, or those of package registrytest, without the word Test.
func TestNamedTests(t *testing.T) {
	_, table, _ := strings.Cut(plain(t, "../README.md"), "| the plugin | here | test |")
	shared := plain(t, "../internal/registrytest/registrytest.go")
	named := 0
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[3], "`") {
			continue
		}
		file := regexp.MustCompile(`\((\w+\.go)\)`).FindStringSubmatch(cells[3])
		for _, m := range regexp.MustCompile("`([A-Z]\\w+)`").FindAllStringSubmatch(cells[3], -1) {
			named++
			switch name := m[1]; {
			case !strings.HasPrefix(name, "Test"):
				if !strings.Contains(shared, `{"`+name+`", test`+name+`}`) {
					t.Errorf("no test %s in registrytest", name)
				}
			case file == nil:
				t.Errorf("%s is named without its file", name)
			case !strings.Contains(plain(t, "../"+file[1]), "func "+name+"("):
				t.Errorf("%s does not exist in %s", name, file[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("found %d names", named)
	}
}

// TestSnippets checks that the Go in README.md is compiled: it is in this file.
func TestSnippets(t *testing.T) {
	words := func(s string) string {
		return strings.Join(strings.Fields(strings.Replace(s, "import _", "_", 1)), " ")
	}
	source := words(plain(t, "readme_test.go"))
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(plain(t, "../README.md"), -1)
	if len(blocks) < 4 {
		t.Errorf("found %d blocks of Go", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(source, words(block[1])) {
			t.Errorf("not in this file:\n%s", block[1])
		}
	}
}

// withoutArguments takes the flags of the tests away, which are not for go-micro.
func withoutArguments(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = args[:1]
}

// TestInit shows that service.Init replaces the times that were set in code, and how
// they are set afterwards.
func TestInit(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", consulmock.New(t).URL())
	withoutArguments(t)
	service := greeter()
	service.Init(micro.RegisterInterval(5*time.Second), micro.RegisterTTL(15*time.Second), micro.Broker(broker.NewMemoryBroker()))
	opts := service.Server().Options()
	if opts.RegisterInterval != 30*time.Second || opts.RegisterTTL != time.Minute {
		t.Errorf("after the first Init: interval %s, TTL %s", opts.RegisterInterval, opts.RegisterTTL)
	}
	initialize(service)
	opts = service.Server().Options()
	if opts.RegisterInterval != 5*time.Second || opts.RegisterTTL != 15*time.Second {
		t.Errorf("after the second one: interval %s, TTL %s", opts.RegisterInterval, opts.RegisterTTL)
	}
}

type brokenDatabase struct{}

func (brokenDatabase) PingContext(context.Context) error { return errors.New("connection refused") }

// TestHealth registers a program whose database is away.
func TestHealth(t *testing.T) {
	agent := consulmock.New(t)
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	r := withHealth(brokenDatabase{})
	s := &registry.Service{Name: "greeter", Nodes: []*registry.Node{{Id: "1", Address: "10.0.0.1:80"}}}
	if err := r.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
		t.Fatal(err)
	}
	checks, err := agent.Client().Agent().Checks(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := checks["service:1"]; c == nil || c.Status != consul.HealthCritical || c.Output != "connection refused" {
		t.Errorf("the check is %+v", c)
	}
	if err := r.Deregister(s); err != nil {
		t.Error(err)
	}
}

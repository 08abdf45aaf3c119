package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// pythonStory registers, waits for a change that it makes itself, and cleans up.
// It prints a line for each step.
const pythonStory = `
import sys, threading, consul
c = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
c.agent.service.register("web", service_id="web-1", port=80, tags=["v1"], check=consul.Check.ttl("30s"))
print("services", sorted(c.agent.services()))
index, entries = c.health.service("web")
print("found", [e["Service"]["ID"] for e in entries])
answers = []
t = threading.Thread(target=lambda: answers.append(c.health.service("web", index=index, wait="1m")))
t.start()
c.catalog.register("ext", "10.0.0.2", service={"ID": "web-2", "Service": "web", "Port": 81})
t.join()
print("woken", int(answers[0][0]) > int(index), [e["Service"]["ID"] for e in answers[0][1]])
print("catalog", sorted(c.catalog.services()[1]), [n["Node"] for n in c.catalog.nodes()[1]])
print("passing", len(c.health.service("web", passing=True)[1]))
print("self", c.agent.self()["Config"]["NodeName"], c.status.leader(), len(c.agent.members()))
print("deregister", c.catalog.deregister("ext"))
`

const pythonSays = `services ['web-1']
found ['web-1']
woken True ['web-2', 'web-1']
catalog ['consul', 'web'] ['ext', 'node1']
passing 1
self node1 127.0.0.1:8300 1
deregister True
`

// A client in another language: python-consul, which Debian calls python3-consul.
func TestPythonClient(t *testing.T) {
	python := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import consul; consul.Consul").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("there is no python3 with python-consul")
	}
	for _, version := range []string{"1.21.4", "1.8.7"} {
		s := consulmock.New(t, consulmock.WithVersion(version))
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, port, _ := strings.Cut(strings.TrimPrefix(s.URL(), "http://"), ":")
		out, err := exec.CommandContext(ctx, python, "-c", pythonStory, port).CombinedOutput()
		if err != nil || string(out) != pythonSays {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", version, err, out, pythonSays)
		}
	}
}

// consul-template renders what is there, and again after each change. The
// variable CONSUL_TEMPLATE_BIN names it, or it is in PATH.
func TestConsulTemplate(t *testing.T) {
	bin := os.Getenv("CONSUL_TEMPLATE_BIN")
	if bin == "" {
		bin = "consul-template"
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		t.Skip("there is no consul-template in PATH, and CONSUL_TEMPLATE_BIN is not set")
	}
	s := consulmock.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()
	source, rendered := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	template := `{{range service "web|any"}}{{.ID}}={{.Address}}:{{.Port}} {{end}}{{range nodes}}on {{.Node}}{{end}}` + "\n"
	if err := os.WriteFile(source, []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, "-consul-addr", strings.TrimPrefix(s.URL(), "http://"), "-template", source+":"+rendered+":cat "+rendered)
	lines := output(t, cmd)
	want := func(text string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == text {
				return
			}
		}
		t.Fatalf("it ended before it rendered %q", text)
	}
	want("on node1")
	if err := s.Client().Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	want("web=127.0.0.1:80 on node1")
	if err := s.Client().Agent().ServiceDeregister(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	want("on node1")
}

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

// pythonKeys does the same with keys, sessions and events.
const pythonKeys = `
import sys, threading, time, consul
c = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
index, pair = c.kv.get("app/name")
print("missing", pair)
answers = []
t = threading.Thread(target=lambda: answers.append(c.kv.get("app/name", index=index, wait="1m")))
t.start()
print("put", c.kv.put("app/name", "web", flags=42), c.kv.put("app/sub/x", b"\x00\xff"))
t.join()
print("woken", int(answers[0][0]) > int(index), answers[0][1]["Value"], answers[0][1]["Flags"])
print("keys", c.kv.get("app/", keys=True, separator="/")[1])
print("recurse", [(p["Key"], p["Value"]) for p in c.kv.get("app/", recurse=True)[1]])
modified = c.kv.get("app/name")[1]["ModifyIndex"]
print("cas", c.kv.put("app/name", "x", cas=0), c.kv.put("app/name", "shop", cas=modified), c.kv.delete("app/name", cas=modified))
s = c.session.create(name="worker", ttl=10, lock_delay=0, behavior="delete")
other = c.session.create(lock_delay=0)
print("acquire", c.kv.put("lock", "me", acquire=s), c.kv.put("lock", "you", acquire=other))
print("held", c.kv.get("lock")[1]["Session"] == s, c.kv.get("lock")[1]["LockIndex"])
print("sessions", sorted(e["Name"] for e in c.session.list()[1]), len(c.session.node("node1")[1]))
print("info", c.session.info(s)[1]["TTL"], c.session.info(s)[1]["Behavior"], c.session.renew(s)["ID"] == s)
print("destroy", c.session.destroy(s), c.session.info(s)[1], c.kv.get("lock")[1])
print("release", c.kv.put("lock", "you", acquire=other), c.kv.put("lock", "", release=other))
try:
    c.session.renew(s)
except consul.NotFound:
    print("not found")
print("delete", c.kv.delete("app/", recurse=True), c.kv.get("app/", recurse=True)[1])
fired = c.event.fire("deploy", "v2")
for _ in range(100):
    events = c.event.list("deploy")[1]
    if events:
        break
    time.sleep(0.05)
print("event", [(e["ID"] == fired["ID"], e["Payload"]) for e in events])
`

const pythonKeysSays = `missing None
put True True
woken True b'web' 42
keys ['app/name', 'app/sub/']
recurse [('app/name', b'web'), ('app/sub/x', b'\x00\xff')]
cas False True False
acquire True False
held True 1
sessions ['', 'worker'] 2
info 10s delete True
destroy True None None
release True True
not found
delete True None
event [(True, b'v2')]
`

// pythonWithConsul returns a python that has python-consul, which Debian calls
// python3-consul. Where there is none, the test is skipped.
func pythonWithConsul(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import consul; consul.Consul").Run() == nil {
			return name
		}
	}
	t.Skip("there is no python3 with python-consul")
	return ""
}

// wantPython runs a story with the agent at a URL, and compares what it prints.
func wantPython(t *testing.T, url, story, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	out, err := exec.CommandContext(ctx, pythonWithConsul(t), "-c", story, port).CombinedOutput()
	if err != nil || string(out) != says {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, out, says)
	}
}

// A client in another language: python-consul.
func TestPythonClient(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		wantPython(t, consulmock.New(t, consulmock.WithVersion(version)).URL(), pythonStory, pythonSays)
	}
}

func TestPythonKeys(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) { wantPython(t, url, pythonKeys, pythonKeysSays) })
}

// rendering starts consul-template with the agent at a URL, and returns a function
// that waits until it has rendered a line. The variable CONSUL_TEMPLATE_BIN names it,
// or it is in PATH; where there is none, the test is skipped.
func rendering(t *testing.T, url, template string) (want func(line string)) {
	t.Helper()
	bin := os.Getenv("CONSUL_TEMPLATE_BIN")
	if bin == "" {
		bin = "consul-template"
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		t.Skip("there is no consul-template in PATH, and CONSUL_TEMPLATE_BIN is not set")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	source, rendered := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(source, []byte(template+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := output(t, exec.CommandContext(ctx, path, "-consul-addr", strings.TrimPrefix(url, "http://"), "-template", source+":"+rendered+":cat "+rendered))
	return func(line string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == line {
				return
			}
		}
		t.Fatalf("it ended before it rendered %q", line)
	}
}

// consul-template renders what is there, and again after each change.
func TestConsulTemplate(t *testing.T) {
	s := consulmock.New(t)
	ctx, c := client(t, s.URL())
	want := rendering(t, s.URL(), `{{range service "web|any"}}{{.ID}}={{.Address}}:{{.Port}} {{end}}{{range nodes}}on {{.Node}}{{end}}`)
	want("on node1")
	if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	want("web=127.0.0.1:80 on node1")
	if err := c.Agent().ServiceDeregister(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	want("on node1")
}

// And keys: one that may be missing, those of a folder, and those below it.
func TestConsulTemplateKeys(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		ctx, c := client(t, url)
		put := func(key, value string) {
			t.Helper()
			if err := c.KV().Put(ctx, &consul.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		want := rendering(t, url, `{{keyOrDefault "app/name" "none"}}:{{range ls "app"}} {{.Key}}={{.Value}}{{end}};{{range tree "app"}} {{.Key}}={{.Value}}{{end}}`)
		want("none:;")
		put("app/name", "web")
		want("web: name=web; name=web")
		put("app/sub/port", "80")
		want("web: name=web; name=web sub/port=80")
		put("app/name", "shop")
		want("shop: name=shop; name=shop sub/port=80")
		if err := c.KV().Delete(ctx, "app/name", nil); err != nil {
			t.Fatal(err)
		}
		want("none:; sub/port=80")
		if err := c.KV().DeleteTree(ctx, "app/", nil); err != nil {
			t.Fatal(err)
		}
		want("none:;")
	})
}

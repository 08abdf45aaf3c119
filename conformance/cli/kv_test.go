package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// client returns our client of the agent at a URL, and a context for the test.
func client(t *testing.T, url string) (context.Context, *consul.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c, err := consul.NewClient(consul.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, c
}

func TestKV(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		ctx, c := client(t, url)
		index := func(key string) string {
			pair, _, err := c.KV().Get(ctx, key, nil)
			if err != nil || pair == nil {
				t.Fatalf("%s: %v, %v", key, pair, err)
			}
			return fmt.Sprint(pair.ModifyIndex)
		}
		// expect runs the tool and compares all that it prints. An exclamation mark in
		// front of the text means that it fails.
		expect := func(want string, args ...string) {
			t.Helper()
			out, err := command(t, url, append([]string{"kv"}, args...)...).CombinedOutput()
			got := strings.TrimSpace(string(out))
			if err != nil {
				got = "!" + got
			}
			if got != want {
				t.Errorf("consul kv %s: got\n%s\nwant\n%s", strings.Join(args, " "), got, want)
			}
		}
		expect("!Error! No key exists at: app/name", "get", "app/name")
		expect("Success! Data written to: app/name", "put", "app/name", "web")
		expect("Success! Data written to: app/port", "put", "-flags=42", "app/port", "80")
		expect("Success! Data written to: app/sub/key with space", "put", "app/sub/key with space", "-1")
		expect("Success! Data written to: app/empty", "put", "app/empty")
		expect("Success! Data written to: other", "put", "-base64", "other", "AP8=")
		expect("web", "get", "app/name")
		expect("AP8=", "get", "-base64", "other")
		expect("app/empty:\napp/name:web\napp/port:80\napp/sub/key with space:-1", "get", "-recurse", "app")
		expect("app/empty\napp/name\napp/port\napp/sub/", "get", "-keys", "-separator=/", "app/")
		expect("app/\nother", "get", "-keys", "-separator=/", "")
		expect("app/empty\napp/name\napp/port\napp/sub/key with space\nother", "get", "-keys", "-separator=", "")
		detailed := run(t, url, "kv", "get", "-detailed", "app/port")
		if got := strings.Join(strings.Fields(detailed), " "); !strings.HasPrefix(got, "CreateIndex ") ||
			!strings.HasSuffix(got, " Flags 42 Key app/port LockIndex 0 ModifyIndex "+index("app/port")+" Session - Value 80") {
			t.Errorf("got %s", got)
		}

		expect("!Error! Did not write to app/name: CAS failed", "put", "-cas", "-modify-index=1", "app/name", "x")
		if agenttest.IsOld(agenttest.Version(t)) { // whose tool takes an index of 0 for none
			expect("Success! Data written to: app/new", "put", "app/new", "x")
		} else {
			expect("!Error! Did not write to app/name: CAS performed with index=0 and key already exists.", "put", "-cas", "-modify-index=0", "app/name", "x")
			expect("Success! Data written to: app/new", "put", "-cas", "-modify-index=0", "app/new", "x")
		}
		expect("Success! Data written to: app/name", "put", "-cas", "-modify-index="+index("app/name"), "app/name", "shop")
		expect("!Error! Did not delete key app/new: CAS failed", "delete", "-cas", "-modify-index=1", "app/new")
		expect("Success! Deleted key: app/new", "delete", "-cas", "-modify-index="+index("app/new"), "app/new")

		exported := run(t, url, "kv", "export", "app/")
		var pairs []struct {
			Key   string
			Flags uint64
			Value []byte
		}
		if err := json.Unmarshal([]byte(exported), &pairs); err != nil || len(pairs) != 4 || pairs[1].Key != "app/name" || string(pairs[1].Value) != "shop" || pairs[2].Flags != 42 {
			t.Errorf("exported %s, %v", exported, err)
		}
		expect("Success! Deleted keys with prefix: app/", "delete", "-recurse", "app/")
		expect("other:\x00\xff", "get", "-recurse", "")
		expect("Imported: app/empty\nImported: app/name\nImported: app/port\nImported: app/sub/key with space", "import", exported)
		expect("shop", "get", "app/name")
		if again := run(t, url, "kv", "export", "app/"); again != exported {
			t.Errorf("imported and exported %s, want %s", again, exported)
		}
		expect("Success! Deleted key: other", "delete", "other")
		expect("Success! Deleted key: other", "delete", "other") // it is not there any more
	})
}

// held starts the tool's lock command with a child that holds the lock until its
// standard input ends, and returns what both print and what ends it.
func held(t *testing.T, url string, args ...string) (lines *bufio.Scanner, end func()) {
	t.Helper()
	cmd := command(t, url, append(append([]string{"lock", "-verbose", "-pass-stdin"}, args...), "echo held; cat; echo over")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The child ends with its input, also if the tool has been killed.
	end = func() { in.Close() }
	deadline := time.AfterFunc(time.Minute, end)
	t.Cleanup(func() {
		deadline.Stop()
		end()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return bufio.NewScanner(out), end
}

// wantLine waits for a line.
func wantLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), want) {
			return
		}
	}
	t.Fatalf("it ended before it printed %q", want)
}

func TestLock(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		ctx, c := client(t, url)
		first, end := held(t, url, "locks/job")
		wantLine(t, first, "held")
		pair, _, err := c.KV().Get(ctx, "locks/job/.lock", nil)
		if err != nil || pair == nil || pair.Session == "" || pair.LockIndex != 1 {
			t.Fatalf("the lock is %+v, %v", pair, err)
		}
		out, err := command(t, url, "lock", "-try=300ms", "locks/job", "echo never").CombinedOutput()
		if err == nil || strings.Contains(string(out), "never") {
			t.Errorf("a lock that is held was acquired: %s", out)
		}
		// Who waits gets it as soon as it is free.
		second, endSecond := held(t, url, "locks/job")
		end()
		wantLine(t, first, "over")
		wantLine(t, second, "held")

		// Whoever loses the session loses the lock, and its child is ended.
		pair, _, err = c.KV().Get(ctx, "locks/job/.lock", nil)
		if err != nil || pair == nil || pair.Session == "" {
			t.Fatalf("the lock is %+v, %v", pair, err)
		}
		if err := c.Session().Destroy(ctx, pair.Session, nil); err != nil {
			t.Fatal(err)
		}
		wantLine(t, second, "Lock lost, killing child")
		endSecond()
	})
}

func TestSemaphore(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		first, endFirst := held(t, url, "-n=2", "locks/pool")
		wantLine(t, first, "held")
		second, endSecond := held(t, url, "-n=2", "locks/pool")
		wantLine(t, second, "held")
		out, err := command(t, url, "lock", "-n=2", "-try=300ms", "locks/pool", "echo never").CombinedOutput()
		if err == nil || strings.Contains(string(out), "never") {
			t.Errorf("a third one got in: %s", out)
		}
		endFirst()
		wantLine(t, first, "over")
		if out := run(t, url, "lock", "-n=2", "locks/pool", "echo third"); !strings.Contains(out, "third") {
			t.Errorf("got %s", out)
		}
		endSecond()
		wantLine(t, second, "over")
	})
}

func TestEvent(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		lines := output(t, command(t, url, "watch", "-type=event", "-name=deploy", "cat"))
		// The handler first runs with what is there, which is nothing.
		wantLine(t, lines, "[]")
		if out := run(t, url, "event", "-name=other", "x"); !strings.HasPrefix(out, "Event ID: ") {
			t.Errorf("got %s", out)
		}
		run(t, url, "event", "-name=deploy", "-node=^node1$", "v2")
		for lines.Scan() {
			var events []*consul.UserEvent
			if err := json.Unmarshal(lines.Bytes(), &events); err != nil {
				t.Fatalf("%v in %s", err, lines.Text())
			}
			if len(events) == 1 && events[0].Name == "deploy" && string(events[0].Payload) == "v2" && events[0].NodeFilter == "^node1$" && events[0].LTime > 0 {
				return
			}
		}
		t.Error("the watch ended before it saw the event")
	})
}

// The tool's watches of keys run their handler for what is there, and for each change.
func TestKeyWatches(t *testing.T) {
	onAgents(t, func(t *testing.T, url string) {
		key := output(t, command(t, url, "watch", "-type=key", "-key=app/name", "cat; echo"))
		prefix := output(t, command(t, url, "watch", "-type=keyprefix", "-prefix=app/", "cat; echo"))
		run(t, url, "kv", "put", "app/name", "web")
		wantLine(t, key, `"Value":"d2Vi"`)
		wantLine(t, prefix, `"Key":"app/name"`)
		run(t, url, "kv", "put", "app/port", "80")
		wantLine(t, prefix, `"Key":"app/port"`)
		run(t, url, "kv", "put", "app/name", "shop")
		wantLine(t, key, `"Value":"c2hvcA=="`)
		wantLine(t, prefix, `"Value":"c2hvcA=="`)
		run(t, url, "kv", "delete", "app/name")
		wantLine(t, key, "null")
		wantLine(t, prefix, `[{"Key":"app/port"`)
		run(t, url, "kv", "delete", "-recurse", "app/")
		wantLine(t, prefix, "null")
	})
}

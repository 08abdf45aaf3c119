package scenario

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
)

// sidesOf returns two fakes of some versions as the sides of a conversation.
func sidesOf(t *testing.T, versions ...string) (sides [2]Side) {
	for i, version := range versions {
		s := consulmock.New(t, consulmock.WithVersion(version), consulmock.WithNodeID(nodeIDs[i]))
		dial := s.Transport().(*http.Transport).DialContext
		sides[i] = Side{Addr: "127.0.0.1:8500", Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", "") }}
	}
	return sides
}

var nodeIDs = []string{"11111111-0000-0000-0000-000000000001", "22222222-0000-0000-0000-000000000002"}

// TestLive compares two agents of one version, which differ in what they make up
// only, and two of different versions.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		second string
		differ bool
	}{{"1.21.4", false}, {"1.8.7", true}} {
		l := NewLive("1.21.4", "node1", sidesOf(t, "1.21.4", c.second))
		l.Started([2]uint64{100, 100})
		send := func(method, target, body string) *Sent {
			m := Message{Method: method, Target: target, Body: []byte(body)}
			return l.Send([2]Message{m, m})
		}
		send("GET", "/v1/catalog/nodes?filter=Node==none", "").Wait()
		wait := send("GET", "/v1/agent/service/none?wait=1s", "")
		replies := send("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a"}`).Wait()
		wait.Wait()
		if replies[0].Status != 200 || replies[1].Status != 200 {
			t.Errorf("%s: %v", c.second, replies)
		}
		found := l.Differences(time.Second, 0)
		if (len(found) > 0) != c.differ {
			t.Errorf("%s: found %v", c.second, found)
		}
	}
}

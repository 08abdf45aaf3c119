package configuration

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/internal/watch"
)

func TestEventsInLogs(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		event Event
		want  string
	}{
		{ChangedEvent{"app/", "dc2", []string{"a"}, []string{"b", "c"}, nil, 4}, `level=INFO msg="configuration changed" watch=app/ datacenter=dc2 added=1 changed=2 removed=0 total=4`},
		{watchEvent(watch.Failed{Watch: "app/", Err: boom, Failures: 1, RetryIn: time.Second}), `level=WARN msg="watch failed" watch=app/ datacenter="" error=boom failures=1 retry_in=1s`},
		{watchEvent(watch.Failed{Watch: "app/", Err: boom, Failures: 2}), `level=DEBUG msg="watch failed" watch=app/ datacenter="" error=boom failures=2 retry_in=0s`},
		{watchEvent(watch.Recovered{Watch: "app/", Failures: 3, Took: time.Minute}), `level=INFO msg="watch succeeds again" watch=app/ datacenter="" failures=3 took=1m0s`},
		{watchEvent(watch.Reset{Watch: "app/", From: 9, To: 2}), `level=DEBUG msg="index went down" watch=app/ datacenter="" from=9 to=2`},
	} {
		var buf bytes.Buffer
		var got Event
		logger := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
		observer{logger, func(e Event) { got = e }}.emit(test.event)
		if !strings.HasSuffix(strings.TrimSpace(buf.String()), test.want) {
			t.Errorf("logged %q, want %q", buf.String(), test.want)
		}
		if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", test.event) {
			t.Errorf("event %v, want %v", got, test.event)
		}
		observer{}.emit(test.event) // silent
	}
}

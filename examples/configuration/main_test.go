package main

import (
	"context"
	"strings"
	"testing"
)

// TestRun plays the edits on the embedded fake.
func TestRun(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "")
	var out strings.Builder
	if err := run(context.Background(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	const want = `app/routes/: added [], changed [], removed []
in use: map[]

# a key is added
app/routes/: added ["shop"], changed [], removed []
in use: map[shop:{http://shop:8080 2}]

# two keys are written together
app/routes/: added ["blog"], changed ["shop"], removed []
in use: map[blog:{http://blog:9090 0} shop:{http://shop:9090 0}]

# a document is broken
app/routes/: added [], changed ["shop"], removed []
error: configuration: key "app/routes/shop": unexpected end of JSON input
in use: map[blog:{http://blog:9090 0} shop:{http://shop:9090 0}]

# it is mended
app/routes/: added [], changed ["shop"], removed []
in use: map[blog:{http://blog:9090 0} shop:{http://shop:9191 0}]

# a key is deleted
app/routes/: added [], changed [], removed ["blog"]
in use: map[shop:{http://shop:9191 0}]
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

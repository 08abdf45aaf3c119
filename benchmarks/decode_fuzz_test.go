package benchmarks

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
)

// recordedAnswers returns all different answers of the health and catalog
// endpoints in the recordings of real agents.
func recordedAnswers(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("../conformance/testdata/*/*.har")
	if err != nil || len(names) == 0 {
		t.Fatal("no recordings: ", err)
	}
	var answers []string
	seen := map[string]bool{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var har struct {
			Log struct {
				Entries []struct {
					Request  struct{ URL string }
					Response struct{ Content struct{ Text string } }
				}
			}
		}
		if err := json.Unmarshal(data, &har); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, e := range har.Log.Entries {
			text := e.Response.Content.Text
			read := strings.Contains(e.Request.URL, "/v1/health/") || strings.Contains(e.Request.URL, "/v1/catalog/")
			if read && text != "" && !seen[text] {
				seen[text] = true
				answers = append(answers, text)
			}
		}
	}
	return answers
}

// canned is a transport that answers everything with what it is.
type canned []byte

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ContentLength: int64(len(c)), Body: io.NopCloser(bytes.NewReader(c))}, nil
}

// compare decodes an answer by way of the client and by way of encoding/json.
func compare[T any](t *testing.T, data []byte, path string) {
	t.Helper()
	client, err := consul.NewClient(consul.Config{Transport: canned(data)})
	if err != nil {
		t.Fatal(err)
	}
	var got, want T
	_, gotErr := client.Raw().Query(context.Background(), path, &got, nil)
	wantErr := json.Unmarshal(data, &want)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%T of %q: got error %v, want %v", got, data, gotErr, wantErr)
	}
	if gotErr == nil && !reflect.DeepEqual(got, want) {
		gotJSON, _ := json.Marshal(got)
		wantJSON, _ := json.Marshal(want)
		t.Fatalf("%T of %q\ngot  %s\nwant %s", got, data, gotJSON, wantJSON)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range recordedAnswers(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compare[[]*consul.ServiceEntry](t, data, "/v1/health/service/web")
		compare[consul.HealthChecks](t, data, "/v1/health/state/any")
		compare[[]*consul.CatalogService](t, data, "/v1/catalog/service/web")
		compare[map[string][]string](t, data, "/v1/catalog/services")
	})
}

package consul

import (
	"encoding/json"
	"reflect"
	"testing"
)

// decoded are an answer's possible meanings.
var hotTypes = []func() any{
	func() any { return new([]*ServiceEntry) },
	func() any { return new(HealthChecks) },
	func() any { return new([]*CatalogService) },
	func() any { return new(map[string][]string) },
}

// checkDecode compares what decodeHot and encoding/json make of the same bytes.
func checkDecode(t *testing.T, data []byte) {
	t.Helper()
	for _, newOut := range hotTypes {
		got, want := newOut(), newOut()
		before := string(data)
		known, bad := decodeHot(data, got)
		err := json.Unmarshal(data, want)
		switch {
		case !known:
			t.Fatalf("%T is not known", got)
		case string(data) != before:
			t.Fatalf("%T: the data has changed", got)
		case (bad == nil) != (err == nil):
			t.Fatalf("%T: got %v (%#v), want %v\n%q", got, bad, bad, err, data)
		case bad != nil && (bad.position < 1 && len(data) > 0 || bad.position > len(data)):
			t.Fatalf("%T: an error at byte %d of %d", got, bad.position, len(data))
		case err == nil && !reflect.DeepEqual(got, want):
			gotJSON, _ := json.Marshal(got)
			wantJSON, _ := json.Marshal(want)
			t.Fatalf("%T of %q\ngot  %s\nwant %s", got, data, gotJSON, wantJSON)
		}
	}
}
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"Node":{"ID":"x","Meta":{"a":"b"},"TaggedAddresses":null},"Service":{"Tags":["a","b"],"Proxy":{"a":1},"Weights":{"Passing":1},"TaggedAddresses":{"lan":{"Address":"1","Port":2}},"Connect":{}},"Checks":[{"Interval":"1s","Timeout":5,"Definition":{"TCP":"x"},"ServiceTags":["x"]}]}]`))
	f.Add([]byte(`[{"Node":"a","CheckID":"x","Status":"passing","ServiceTags":[],"Definition":{}}]`))
	f.Add([]byte(`[{"ServiceTags":["a","b","c"],"ServiceTags":["x"],"servicetags":["y",null,null,null]}]`))
	f.Add([]byte(`{"a":["x"],"b":[],"a":null}`))
	f.Add([]byte(`[{"Node":"\ud800\u0041\ud83d\ude00 \xff\u212a","\u212aind":1}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecode(t, data)
	})
}

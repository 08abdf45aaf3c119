package gomicro

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"go-micro.dev/v4/registry"
)

// What the official plugin, v1.2.1, puts into tags.
const (
	tagProtocol = "t-789caa562a28ca2fc94fcecf51b252ca2d4d2e50aa05040000ffff46a906e2" // {"protocol":"mucp"}
	tagV123     = "v-789c32d433d23306040000ffff02d700f3"                             // 1.2.3
	tagV1       = "v-789c3204040000ffff00320032"                                     // 1
)

func TestDecodeMetadata(t *testing.T) {
	type md = map[string]string
	other := encodeTag(kindMetadata, []byte(`{"a":"1","b":"2"}`))
	for name, c := range map[string]struct {
		tags []string
		meta md
		want md
	}{
		"none":                                {nil, nil, md{}},
		"a tag of the plugin":                 {[]string{tagProtocol}, nil, md{"protocol": "mucp"}},
		"several tags":                        {[]string{tagProtocol, other}, nil, md{"protocol": "mucp", "a": "1", "b": "2"}},
		"the old form":                        {[]string{`t={"k":"v"}`, `t={"l":"w"}`}, nil, md{"k": "v", "l": "w"}},
		"both forms, hex first":               {[]string{tagProtocol, `t={"k":"v"}`}, nil, md{"protocol": "mucp"}},
		"both forms, plain first":             {[]string{`t={"k":"v"}`, tagProtocol}, nil, md{"k": "v"}},
		"what the tags lack is in the meta":   {[]string{tagProtocol}, md{"protocol": "http", "zone": "a"}, md{"protocol": "mucp", "zone": "a"}},
		"a tag of one letter":                 {[]string{"t", tagProtocol}, nil, md{"protocol": "mucp"}},
		"an empty tag":                        {[]string{"", tagProtocol}, nil, md{"protocol": "mucp"}},
		"a foreign tag with the first letter": {[]string{"traefik.enable=true", tagProtocol}, nil, md{"protocol": "mucp"}},
		"a foreign tag with two letters":      {[]string{"t-shirts", "t=", tagProtocol}, nil, md{"protocol": "mucp"}},
		"not hex":                             {[]string{"t-zz", `t={"k":"v"}`}, nil, md{"k": "v"}},
		"not zlib":                            {[]string{"t-00ff"}, nil, md{}},
		"a stream that is cut":                {[]string{tagProtocol[:len(tagProtocol)-8]}, nil, md{}},
		"a stream with a wrong checksum":      {[]string{tagProtocol[:len(tagProtocol)-1] + "3"}, nil, md{}},
		"not JSON":                            {[]string{encodeTag(kindMetadata, []byte("{"))}, nil, md{}},
		"not an object":                       {[]string{encodeTag(kindMetadata, []byte(`"k"`))}, nil, md{}},
		"not text":                            {[]string{encodeTag(kindMetadata, []byte(`{"k":1}`)), `t={"l":"w"}`}, nil, md{"l": "w"}},
	} {
		if got := decodeMetadata(c.tags, c.meta); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestDecodeVersion(t *testing.T) {
	for name, c := range map[string]struct {
		tags []string
		want string
	}{
		"none":                {nil, ""},
		"of the plugin":       {[]string{tagProtocol, tagV123}, "1.2.3"},
		"of one digit":        {[]string{tagV1}, "1"},
		"the old form":        {[]string{"v=1.2.3"}, "1.2.3"},
		"the first wins":      {[]string{"v=2", tagV1}, "2"},
		"of the same form":    {[]string{tagV1, tagV123}, "1"},
		"empty":               {[]string{encodeTag(kindVersion, nil), tagV1}, ""},
		"a tag of one letter": {[]string{"v", tagV1}, "1"},
		"foreign tags":        {[]string{"vip", "v-next", "v1", tagV1}, "1"},
	} {
		if got := decodeVersion(c.tags); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestDecodeEndpoints(t *testing.T) {
	greeter := &registry.Endpoint{Name: "Greeter.Hello", Metadata: map[string]string{"stream": "false"}}
	plain := `e={"name":"Old.Call"}`
	for name, c := range map[string]struct {
		tags []string
		want []string
	}{
		"none":           {nil, nil},
		"hex":            {encodeTags(nil, []*registry.Endpoint{greeter}, ""), []string{"Greeter.Hello"}},
		"the old form":   {[]string{plain, `e={"name":"Old.Other"}`}, []string{"Old.Call", "Old.Other"}},
		"both forms":     {append([]string{plain}, encodeTags(nil, []*registry.Endpoint{greeter}, "")...), []string{"Old.Call"}},
		"foreign tags":   {[]string{"e", "env", "env=prod", "e-commerce", "e=", plain}, []string{"Old.Call"}},
		"a null":         {[]string{"e=null", plain}, []string{"Old.Call"}},
		"another object": {[]string{`e={"other":1}`}, []string{""}},
	} {
		var got []string
		for _, e := range decodeEndpoints(c.tags) {
			got = append(got, e.Name)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestEncodeTags(t *testing.T) {
	metadata := map[string]string{"protocol": "mucp", "a.dotted key": "ä<&>\x00", "": ""}
	endpoints := []*registry.Endpoint{
		{
			Name:     "Greeter.Hello",
			Request:  &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{{Name: "name", Type: "string"}}},
			Response: &registry.Value{Name: "Response", Type: "Response"},
			Metadata: map[string]string{"stream": "true"},
		},
		nil,
		{Name: "Greeter.Bye"},
	}
	tags := encodeTags(metadata, endpoints, "1.2.3")
	if got := decodeMetadata(tags, nil); !reflect.DeepEqual(got, metadata) {
		t.Errorf("metadata: got %q, want %q", got, metadata)
	}
	if got, want := decodeEndpoints(tags), []*registry.Endpoint{endpoints[0], endpoints[2]}; !reflect.DeepEqual(got, want) {
		t.Errorf("endpoints: got %+v, want %+v", got, want)
	}
	if got := decodeVersion(tags); got != "1.2.3" {
		t.Errorf("version: got %q", got)
	}
	kinds := ""
	for _, tag := range tags {
		kinds += tag[:2]
	}
	if kinds != "t-t-t-e-e-v-" {
		t.Errorf("kinds of the tags: %s", kinds)
	}
	for range 20 {
		if again := encodeTags(metadata, endpoints, "1.2.3"); !reflect.DeepEqual(again, tags) {
			t.Fatalf("other tags the second time: %q, first %q", again, tags)
		}
	}
}

func TestTagThatWouldFillTheMemory(t *testing.T) {
	tag := encodeTag(kindVersion, make([]byte, maxPayload+1))
	if len(tag) > 10_000 {
		t.Fatalf("the tag itself has %d bytes", len(tag))
	}
	if v := decodeVersion([]string{tag, "v=1"}); v != "1" {
		t.Errorf("got a version of %d bytes", len(v))
	}
	if v := decodeVersion([]string{encodeTag(kindVersion, make([]byte, maxPayload))}); len(v) != maxPayload {
		t.Errorf("got a version of %d bytes, want %d", len(v), maxPayload)
	}
}

func TestEncodeMeta(t *testing.T) {
	metadata := map[string]string{
		"protocol":               "mucp",
		"Under_score-1":          "",
		"micro.dotted":           "1",
		"":                       "blank",
		"consul-reserved":        "1",
		"ключ":                   "1",
		strings.Repeat("k", 128): "longest",
		strings.Repeat("k", 129): "too long",
		"value":                  strings.Repeat("v", 512),
		"longvalue":              strings.Repeat("v", 513),
	}
	want := map[string]string{
		"protocol": "mucp", "Under_score-1": "", strings.Repeat("k", 128): "longest", "value": strings.Repeat("v", 512),
	}
	if got := encodeMeta(metadata); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for i := range 100 {
		metadata["many"+strconv.Itoa(i)] = ""
	}
	if got := encodeMeta(metadata); len(got) != maxMetaPairs {
		t.Errorf("got %d pairs, want %d", len(got), maxMetaPairs)
	}
}

func FuzzDecode(f *testing.F) {
	for _, tag := range []string{
		tagProtocol, tagV123, "t", "e", "v", "", "t=", "e=null", `t={"k":"v"}`, `e={"name":"n","request":{"values":[null]}}`, "v=1",
		encodeTags(nil, []*registry.Endpoint{{Name: "n"}}, "")[0],
	} {
		f.Add(tag, "v-next")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		tags := []string{a, b}
		metadata, endpoints, version := decodeMetadata(tags, nil), decodeEndpoints(tags), decodeVersion(tags)
		if metadata == nil {
			t.Error("nil metadata")
		}
		for _, e := range endpoints {
			if e == nil {
				t.Error("nil endpoint")
			}
		}
		// What was understood is understood again after a registration.
		again := encodeTags(metadata, endpoints, version)
		if got := decodeMetadata(again, nil); !reflect.DeepEqual(got, metadata) {
			t.Errorf("metadata %q became %q", metadata, got)
		}
		if got := decodeEndpoints(again); !reflect.DeepEqual(got, endpoints) {
			t.Errorf("endpoints %+v became %+v", endpoints, got)
		}
		if got := decodeVersion(again); got != version {
			t.Errorf("version %q became %q", version, got)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add("k", "v", "Greeter.Hello", "1.2.3")
	f.Add("\xdc", "\x9f", "0", "0")
	f.Fuzz(func(t *testing.T, k, v, endpoint, version string) {
		tags := encodeTags(map[string]string{k: v}, []*registry.Endpoint{{Name: endpoint}}, version)
		if got := decodeVersion(tags); got != version {
			t.Errorf("version %q became %q", version, got)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) || !utf8.ValidString(endpoint) {
			return // JSON has no place for it
		}
		if got := decodeMetadata(tags, nil); len(got) != 1 || got[k] != v {
			t.Errorf("metadata %q: %q became %q", k, v, got)
		}
		if got := decodeEndpoints(tags); len(got) != 1 || got[0].Name != endpoint {
			t.Errorf("endpoint %q became %+v", endpoint, got)
		}
	})
}

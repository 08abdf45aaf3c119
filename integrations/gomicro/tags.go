package gomicro

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"go-micro.dev/v4/registry"
)

// What a go-micro service says of itself travels in tags, because Consul has no
// fields for it. The first byte of a tag is its kind, the second its form, and
// the rest its payload. There is one tag for each pair of the metadata, one for
// each endpoint, and one for the version.
const (
	kindMetadata = 't' // a JSON object
	kindEndpoint = 'e' // an endpoint in JSON
	kindVersion  = 'v' // the version as it is

	formHex   = '-' // lower-case hex digits of a zlib stream
	formPlain = '=' // as it is; only old services still have it
)

// maxPayload bounds what a tag may hold, so that a few bytes of foreign tag
// cannot become a gigabyte.
const maxPayload = 1 << 20

// encodeTags returns the tags of a service's node, in the same order whenever
// the content is the same: a registration with other tags wakes every watcher.
func encodeTags(metadata map[string]string, endpoints []*registry.Endpoint, version string) []string {
	var tags []string
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		if payload, err := json.Marshal(map[string]string{k: metadata[k]}); err == nil {
			tags = append(tags, encodeTag(kindMetadata, payload))
		}
	}
	for _, e := range endpoints {
		if e == nil {
			continue
		}
		if payload, err := json.Marshal(e); err == nil {
			tags = append(tags, encodeTag(kindEndpoint, payload))
		}
	}
	return append(tags, encodeTag(kindVersion, []byte(version)))
}

func encodeTag(kind byte, payload []byte) string {
	var stream bytes.Buffer
	w := zlib.NewWriter(&stream)
	w.Write(payload) // a bytes.Buffer takes everything
	w.Close()
	return string([]byte{kind, formHex}) + hex.EncodeToString(stream.Bytes())
}

// decodeMetadata returns the metadata that the tags hold, and what only meta
// has. It is never nil.
func decodeMetadata(tags []string, meta map[string]string) map[string]string {
	metadata := make(map[string]string)
	decodeTags(tags, kindMetadata, func(payload []byte) bool {
		var pairs map[string]string
		if json.Unmarshal(payload, &pairs) != nil {
			return false
		}
		maps.Copy(metadata, pairs)
		return true
	})
	for k, v := range meta {
		if _, ok := metadata[k]; !ok {
			metadata[k] = v
		}
	}
	return metadata
}

func decodeEndpoints(tags []string) []*registry.Endpoint {
	var endpoints []*registry.Endpoint
	decodeTags(tags, kindEndpoint, func(payload []byte) bool {
		var e *registry.Endpoint
		if json.Unmarshal(payload, &e) != nil || e == nil {
			return false
		}
		endpoints = append(endpoints, e)
		return true
	})
	return endpoints
}

func decodeVersion(tags []string) string {
	version, found := "", false
	decodeTags(tags, kindVersion, func(payload []byte) bool {
		if !found {
			version, found = string(payload), true
		}
		return true
	})
	return version
}

// decodeTags calls use with the payload of each tag of the kind. Services that
// were to be read by old and new registries alike have everything in both forms:
// the form of the first tag that could be used is that of all that count. Tags
// that are not go-micro's, but look so at their beginning, are left out.
func decodeTags(tags []string, kind byte, use func(payload []byte) bool) {
	var form byte
	for _, tag := range tags {
		if len(tag) < 2 || tag[0] != kind || form != 0 && tag[1] != form {
			continue
		}
		var payload []byte
		ok := true
		switch tag[1] {
		case formPlain:
			payload = []byte(tag[2:])
		case formHex:
			payload, ok = inflate(tag[2:])
		default:
			continue
		}
		if ok && use(payload) {
			form = tag[1]
		}
	}
}

// inflaters keeps decompressors, which are 40 KB each. One response of an agent
// may have thousands of tags.
var inflaters sync.Pool

func inflate(digits string) ([]byte, bool) {
	stream, err := hex.DecodeString(digits)
	if err != nil {
		return nil, false
	}
	source := bytes.NewReader(stream)
	r, ok := inflaters.Get().(io.ReadCloser)
	if ok {
		err = r.(zlib.Resetter).Reset(source, nil)
	} else {
		r, err = zlib.NewReader(source)
	}
	if err != nil {
		return nil, false
	}
	defer inflaters.Put(r)
	payload, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	return payload, err == nil && len(payload) <= maxPayload
}

// Limits of Consul. Metadata beyond them makes an agent refuse the whole
// registration.
const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
)

// encodeMeta returns the metadata that Consul takes as such, for programs that
// read no tags: go-micro itself allows keys with dots, and more.
func encodeMeta(metadata map[string]string) map[string]string {
	meta := make(map[string]string)
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		if len(meta) < maxMetaPairs && isMetaKey(k) && len(metadata[k]) <= maxMetaValue {
			meta[k] = metadata[k]
		}
	}
	return meta
}

func isMetaKey(k string) bool {
	return k != "" && len(k) <= maxMetaKey && !strings.HasPrefix(k, "consul-") &&
		!strings.ContainsFunc(k, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		})
}

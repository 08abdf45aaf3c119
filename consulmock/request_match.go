package consulmock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/lictor-go/consul/internal/har"
)

// requestKey is what makes two requests the same. It has no secrets in it.
type requestKey struct {
	method  string
	path    string // with every element unescaped
	query   url.Values
	body    string
	waitsOn string // the index or hash
	key     string // all except waitsOn
	text    string // for messages
}

// newRequestKey returns the key of a request. The redactor replaces the secrets
// that it has learned: in a recording that was made without [KeepTokens], they are
// replaced as well.
func newRequestKey(r *har.Redactor, method string, u *url.URL, body []byte) requestKey {
	target := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	q := har.Request{Method: method, URL: target.String(), Body: body}
	r.RedactRequest(&q)
	if clean, err := url.Parse(q.URL); err == nil {
		u = clean
	}
	a := requestKey{method: method, path: plainPath(u), body: bodyValue(q.Body)}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		query = url.Values{"": {u.RawQuery}} // malformed on purpose, so it has to be the same
	}
	delete(query, "token")
	spellQuery(query)
	a.body = spellBody(a.path, a.body)
	for _, values := range query {
		sort.Strings(values)
	}
	a.query = query
	keyed := url.Values{}
	for name, values := range query {
		if name == "index" || name == "hash" {
			a.waitsOn = values[0]
			values = nil
		}
		keyed[name] = values
	}
	names := make([]string, 0, len(keyed))
	for name := range keyed {
		names = append(names, name)
	}
	sort.Strings(names)
	key := []string{a.method, a.path, a.body}
	for _, name := range names {
		key = append(key, fmt.Sprintf("%q", keyed[name]), name)
	}
	a.key = fmt.Sprintf("%q", key)
	a.text = method + " " + u.EscapedPath()
	if len(query) > 0 {
		a.text += "?" + query.Encode()
	}
	return a
}

// String returns the request as it is written in messages, without its token.
func (a requestKey) String() string { return a.text }

// blocks reports whether an agent may take its time to respond.
func (a requestKey) blocks() bool {
	return a.waitsOn != "" && a.waitsOn != "0"
}

// plainPath returns the path with its elements quoted, so that an escaped slash
// is not one that separates.
func plainPath(u *url.URL) string {
	elements := strings.Split(u.EscapedPath(), "/")
	for i, e := range elements {
		if plain, err := url.PathUnescape(e); err == nil {
			e = plain
		}
		elements[i] = strings.ReplaceAll(e, "/", "\x00")
	}
	return strings.Join(elements, "/")
}

// bodyValue returns a JSON value in one form, and anything else as it is.
func bodyValue(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return string(body)
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return string(body)
	}
	return string(plain)
}

// distance measures how much the requests differ. Another path weighs more than
// anything else, the more the earlier it differs.
func (a requestKey) distance(recorded requestKey) int {
	n := len(a.differences(recorded))
	if a.method != recorded.method {
		n += 3
	}
	if a.path != recorded.path {
		have, want := strings.Split(a.path, "/"), strings.Split(recorded.path, "/")
		same := 0
		for same < min(len(have), len(want)) && have[same] == want[same] {
			same++
		}
		n += 10 * (max(len(have), len(want)) - same)
	}
	return n
}

// differences returns in what the requests differ.
func (a requestKey) differences(recorded requestKey) []string {
	var list []string
	if a.method != recorded.method {
		list = append(list, fmt.Sprintf("method: recorded %s, requested %s", recorded.method, a.method))
	}
	if a.path != recorded.path {
		list = append(list, fmt.Sprintf("path: recorded %s, requested %s", recorded.path, a.path))
	}
	names := map[string]bool{}
	for name := range a.query {
		names[name] = true
	}
	for name := range recorded.query {
		names[name] = true
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	for _, name := range sorted {
		have, want := a.query[name], recorded.query[name]
		if !slices.Equal(have, want) || a.query.Has(name) != recorded.query.Has(name) {
			list = append(list, fmt.Sprintf("%s: recorded %s, requested %s", name, valuesText(want), valuesText(have)))
		}
	}
	if a.body != recorded.body {
		list = append(list, fmt.Sprintf("body: recorded %s, requested %s", bodyText(recorded.body), bodyText(a.body)))
	}
	return list
}

func valuesText(values []string) string {
	if values == nil {
		return "none"
	}
	return fmt.Sprintf("%q", strings.Join(values, " "))
}

func bodyText(body string) string {
	const most = 300
	switch {
	case body == "":
		return "none"
	case len(body) > most:
		return strings.ToValidUTF8(body[:most], "") + "…"
	}
	return body
}

// Package har reads and writes recordings of HTTP exchanges in HAR 1.2, and removes
// the secrets from them.
package har

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// This file holds the archive format of recordings, HAR 1.2: what of it is read
// and written. Fields that start with an underscore are additions, which the
// format allows, and which other programs ignore.

// CreatorName is what the recordings of [Recorder] name as their creator.
const CreatorName = "consulmock"

// File is a whole archive.
type File struct {
	Log Log `json:"log"`
}

// Log is what an archive holds.
type Log struct {
	Version string  `json:"version"`
	Creator Creator `json:"creator"`
	Comment string  `json:"comment,omitempty"`
	Entries []Entry `json:"entries"`
}

// Creator is the program that wrote an archive.
type Creator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Entry is a request with its response.
type Entry struct {
	ID      string   `json:"_id,omitempty"`
	Seq     *Seq     `json:"_seq,omitempty"`
	Failure string   `json:"_error,omitempty"` // how the exchange failed; the status is then 0
	Started Time     `json:"startedDateTime"`
	Time    float64  `json:"time"` // milliseconds until the end of the answer
	Request Request  `json:"request"`
	Answer  Response `json:"response"`
	Cache   struct{} `json:"cache"`
	Timings Timings  `json:"timings"`

	ByClock bool `json:"-"` // Seq was made from the times
}

// Seq holds places in one order of all beginnings and ends. An entry was sent
// while another one waited exactly if its start is between that one's places.
type Seq struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Request is a request as it was sent.
type Request struct {
	Method      string `json:"method"`
	URL         string `json:"url"`
	HTTPVersion string `json:"httpVersion"`
	Cookies     []Pair `json:"cookies"`
	Headers     []Pair `json:"headers"`
	QueryString []Pair `json:"queryString"`
	PostData    *Post  `json:"postData,omitempty"`
	HeadersSize int    `json:"headersSize"`
	BodySize    int    `json:"bodySize"`

	Parsed *url.URL `json:"-"` // what URL says; nil if it has a broken escape, which servers refuse at once
	Body   []byte   `json:"-"` // what PostData says
}

// Response is a response as it was received.
type Response struct {
	Status      int     `json:"status"`
	StatusText  string  `json:"statusText"`
	HTTPVersion string  `json:"httpVersion"`
	Cookies     []Pair  `json:"cookies"`
	Headers     []Pair  `json:"headers"`
	Content     Content `json:"content"`
	RedirectURL string  `json:"redirectURL"`
	HeadersSize int     `json:"headersSize"`
	BodySize    int     `json:"bodySize"`

	Body []byte `json:"-"` // what Content says
}

// Pair is a header or a parameter.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Content is the body of a response, decompressed.
type Content struct {
	Size     int    `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"encoding,omitempty"` // base64 or empty
	Partial  bool   `json:"_partial,omitempty"` // cut off: it had no end
}

// Post is the body of a request. The format has no encoding of it, so that
// this is an addition.
type Post struct {
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"_encoding,omitempty"` // base64 or empty
}

// Timings are the parts of the time of an exchange, in milliseconds.
type Timings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

// Time is a moment, in UTC.
type Time struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler]. Some programs write the offset
// without a colon.
func (t *Time) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err != nil || string(data) == "null" {
		return err
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t.Time, err = time.Parse(layout, text); err == nil {
			break
		}
	}
	t.Time = t.UTC()
	if year := t.Year(); err != nil || year < 1 || year > 9999 {
		return fmt.Errorf("%q: want a time such as 2026-01-02T15:04:05.678Z", text)
	}
	return nil
}

// decodeText returns the body that text is. The encoding is base64 or empty.
func decodeText(text, encoding string) ([]byte, error) {
	switch encoding {
	case "":
		return []byte(text), nil
	case "base64":
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("text is not base64: %w", err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("encoding %q: want base64 or none", encoding)
}

// encodeText returns the body as text, and how it is encoded.
func encodeText(body []byte) (text, encoding string) {
	if utf8.Valid(body) {
		return string(body), ""
	}
	return base64.StdEncoding.EncodeToString(body), "base64"
}

// EncodeBodies writes the bodies of a request and its response as the archive has
// them.
func (e *Entry) EncodeBodies() {
	if p := e.Request.PostData; p != nil {
		p.Text, p.Encoding = encodeText(e.Request.Body)
	}
	c := &e.Answer.Content
	c.Size = len(e.Answer.Body)
	c.Text, c.Encoding = encodeText(e.Answer.Body)
}

// Headers returns a header as a list, sorted by name.
func Headers(h http.Header) []Pair {
	list := []Pair{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			list = append(list, Pair{name, v})
		}
	}
	return list
}

// Parameters returns the parameters of a query, unescaped where that is possible.
func Parameters(query string) []Pair {
	list := []Pair{}
	for _, part := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' }) {
		name, value, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err == nil {
			name = n
		}
		if v, err := url.QueryUnescape(value); err == nil {
			value = v
		}
		list = append(list, Pair{name, value})
	}
	return list
}

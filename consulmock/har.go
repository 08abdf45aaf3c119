package consulmock

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
	"unicode/utf8"
)

// This file holds the archive format of recordings, HAR 1.2: what of it is read
// and written. Fields that start with an underscore are additions, which the
// format allows, and which other programs ignore.

// creatorName is what the recordings of [Recorder] name as their creator.
const creatorName = "consulmock"

// harFile is a whole archive.
type harFile struct {
	Log harLog `json:"log"`
}

type harLog struct {
	Version string     `json:"version"`
	Creator harCreator `json:"creator"`
	Comment string     `json:"comment,omitempty"`
	Entries []harEntry `json:"entries"`
}

type harCreator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// harEntry is a request with its answer.
type harEntry struct {
	ID      string      `json:"_id,omitempty"`
	Seq     *harSeq     `json:"_seq,omitempty"`
	Failure string      `json:"_error,omitempty"` // how the exchange failed; the status is then 0
	Started harTime     `json:"startedDateTime"`
	Time    float64     `json:"time"` // milliseconds until the end of the answer
	Request harRequest  `json:"request"`
	Answer  harResponse `json:"response"`
	Cache   struct{}    `json:"cache"`
	Timings harTimings  `json:"timings"`

	byClock bool // Seq was made from the times
}

// harSeq holds places in one order of all beginnings and ends. An entry was sent
// while another one waited exactly if its start is between that one's places.
type harSeq struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	QueryString []harPair `json:"queryString"`
	PostData    *harPost  `json:"postData,omitempty"`
	HeadersSize int       `json:"headersSize"`
	BodySize    int       `json:"bodySize"`

	url  *url.URL // what URL says; nil if it has a broken escape, which servers refuse at once
	body []byte   // what PostData says
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize int        `json:"headersSize"`
	BodySize    int        `json:"bodySize"`

	body []byte // what Content says
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// harContent is the body of an answer, decompressed.
type harContent struct {
	Size     int    `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"encoding,omitempty"` // base64 or empty
	Partial  bool   `json:"_partial,omitempty"` // cut off: it had no end
}

// harPost is the body of a request. The format has no encoding of it, so that
// this is an addition.
type harPost struct {
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"_encoding,omitempty"` // base64 or empty
}

type harTimings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

// harTime is a moment, in UTC.
type harTime struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler]. Some programs write the offset
// without a colon.
func (t *harTime) UnmarshalJSON(data []byte) error {
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

// encodeBodies writes the bodies of a request and its response as the archive has
// them.
func (e *harEntry) encodeBodies() {
	if p := e.Request.PostData; p != nil {
		p.Text, p.Encoding = encodeText(e.Request.body)
	}
	c := &e.Answer.Content
	c.Size = len(e.Answer.body)
	c.Text, c.Encoding = encodeText(e.Answer.body)
}

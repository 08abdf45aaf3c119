package consulmock

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
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
	Started time.Time   `json:"startedDateTime"`
	Time    float64     `json:"time"` // milliseconds until the end of the answer
	Request harRequest  `json:"request"`
	Answer  harResponse `json:"response"`
	Cache   struct{}    `json:"cache"`
	Timings harTimings  `json:"timings"`
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

// readHAR reads an archive from a file. Its entries are sorted by their start.
func readHAR(file string) ([]harEntry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err // names the file
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	entries, err := parseHAR(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return entries, nil
}

func parseHAR(data []byte) ([]harEntry, error) {
	var file struct {
		Log *struct {
			Version *string           `json:"version"`
			Entries []json.RawMessage `json:"entries"`
		} `json:"log"`
	}
	if err := decodeHAR(data, &file); err != nil {
		return nil, err
	}
	switch {
	case file.Log == nil:
		return nil, errors.New("log is missing: not a HAR file")
	case file.Log.Version == nil || *file.Log.Version != "1.2" && *file.Log.Version != "1.1":
		return nil, errors.New(`log.version: want "1.2"`)
	case file.Log.Entries == nil:
		return nil, errors.New("log.entries is missing")
	}
	entries := make([]harEntry, len(file.Log.Entries))
	for i, raw := range file.Log.Entries {
		e := &entries[i]
		err := decodeHAR(raw, e)
		if err == nil {
			err = e.check()
		}
		if err != nil {
			where := fmt.Sprintf("entry %d", i+1)
			if e.ID != "" {
				where += " (" + e.ID + ")"
			}
			return nil, fmt.Errorf("%s: %w", where, err)
		}
	}
	return entries, order(entries)
}

// decodeHAR decodes JSON, and says where it is wrong.
func decodeHAR(data []byte, out any) error {
	err := json.Unmarshal(data, out)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s: it is a JSON %s; want %s", kind.Field, kind.Value, jsonKind(kind.Type.String()))
	case errors.As(err, &kind):
		return fmt.Errorf("it is a JSON %s; want an object", kind.Value)
	case err != nil:
		return fmt.Errorf("startedDateTime: %w", err) // the only field that has more to its form
	}
	return nil
}

func jsonKind(goType string) string {
	switch {
	case goType == "string":
		return "a string"
	case strings.HasPrefix(goType, "[]"):
		return "an array"
	case goType == "int":
		return "a whole number"
	case goType == "float64":
		return "a number"
	case goType == "bool":
		return "true or false"
	}
	return "an object"
}

func (e *harEntry) check() error {
	if e.Request.Method == "" {
		return errors.New("request.method is missing")
	}
	u, err := url.Parse(e.Request.URL)
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape):
	case err != nil:
		return fmt.Errorf("request.url: %w", err)
	case !strings.HasPrefix(u.Path, "/"):
		return fmt.Errorf("request.url %q: want an absolute URL", e.Request.URL)
	}
	e.Request.url = u
	if p := e.Request.PostData; p != nil {
		if e.Request.body, err = decodeText(p.Text, p.Encoding); err != nil {
			return fmt.Errorf("request.postData: %w", err)
		}
	}
	if e.Answer.body, err = decodeText(e.Answer.Content.Text, e.Answer.Content.Encoding); err != nil {
		return fmt.Errorf("response.content: %w", err)
	}
	switch {
	case e.Answer.Status != 0 && (e.Answer.Status < 200 || e.Answer.Status > 999):
		return fmt.Errorf("response.status %d: want 200 to 999, or 0 for none", e.Answer.Status)
	case e.Time < 0 || e.Time > 1e12:
		return fmt.Errorf("time %v: want milliseconds", e.Time)
	case e.Seq != nil && e.Seq.Start >= e.Seq.End:
		return fmt.Errorf("_seq: start %d is not before end %d", e.Seq.Start, e.Seq.End)
	case e.Seq == nil && e.Started.IsZero():
		return errors.New("startedDateTime is missing")
	}
	return nil
}

// order sorts entries by their start. Archives of other programs have no places
// in a common order; they are given ones by the clock.
func order(entries []harEntry) error {
	without := slices.IndexFunc(entries, func(e harEntry) bool { return e.Seq == nil })
	if without < 0 {
		sort.SliceStable(entries, func(i, j int) bool { return entries[i].Seq.Start < entries[j].Seq.Start })
		return nil
	}
	if with := slices.IndexFunc(entries, func(e harEntry) bool { return e.Seq != nil }); with >= 0 {
		return fmt.Errorf("entry %d has no _seq, but entry %d has", without+1, with+1)
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Started.Before(entries[j].Started) })
	type moment struct {
		at    time.Time
		place *int
	}
	moments := make([]moment, 0, 2*len(entries))
	for i := range entries {
		e := &entries[i]
		e.Seq = &harSeq{}
		end := e.Started.Add(time.Duration(e.Time * float64(time.Millisecond)))
		moments = append(moments, moment{e.Started, &e.Seq.Start}, moment{end, &e.Seq.End})
	}
	sort.SliceStable(moments, func(i, j int) bool { return moments[i].at.Before(moments[j].at) })
	for i, m := range moments {
		*m.place = i + 1
	}
	return nil
}

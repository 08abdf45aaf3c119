// Package recording reads the recordings of real agents in testdata. They are
// HAR 1.2 with fields of their own, which testdata/README.md explains.
package recording

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Recording is one conversation with the agents of one scenario.
type Recording struct {
	Version  string // of the agents
	Scenario string
	Title    string
	File     string
	Agents   []Agent
	Events   []Event
	Entries  []*Entry // ordered by the time of the request
}

// Agent is one of the agents of a recording.
type Agent struct {
	Name   string   `json:"name"`
	Role   string   `json:"role"` // dev, server or client
	Addr   string   `json:"addr"`
	Config []string `json:"config"` // flags and HCL beyond the common ones
}

// Event is something that happened outside HTTP.
type Event struct {
	Seq     int       `json:"seq"` // its place among the starts and ends of the entries
	Time    time.Time `json:"dateTime"`
	Agent   string    `json:"agent"`
	Event   string    `json:"event"` // start, ready, signal, exited, idle-connections
	Comment string    `json:"comment"`
}

// Entry is one request with its answer.
type Entry struct {
	ID      string    `json:"_id"`
	Agent   string    `json:"_agent"`
	Seq     Seq       `json:"_seq"`
	PauseMs int       `json:"_pauseMs"` // waited on purpose before the request
	Refs    []Ref     `json:"_refs"`
	Vars    []Var     `json:"_vars"`
	Error   string    `json:"_error"` // the exchange failed; there is no answer
	Comment string    `json:"comment"`
	Started time.Time `json:"startedDateTime"`
	Ms      float64   `json:"time"` // until the end of the answer

	// Template is the request before Vars were filled in, nil if there are none.
	Template *Template `json:"_template"`

	Request  Request  `json:"request"`
	Response Response `json:"response"`
}

// Seq says when an entry started and ended, in one order for the whole
// recording.
type Seq struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Ref is a parameter of a request that was taken from an earlier answer.
type Ref struct {
	Param  string `json:"param"` // index or hash
	From   string `json:"from"`  // the ID of that answer's entry
	Header string `json:"header"`
	Plus   int64  `json:"plus"`  // was added
	Value  string `json:"value"` // was sent
}

// Var is a part of a request that was taken from the body of an earlier answer,
// such as the ID of a session.
type Var struct {
	Name  string `json:"name"` // stands as ${name} in the template
	From  string `json:"from"` // the ID of that answer's entry
	Path  string `json:"path"` // dotted path in its body, such as 0.ModifyIndex
	Form  string `json:"form"` // upper: filled in with capital letters
	Value string `json:"value"`
}

// Template is a request with a placeholder for every variable. References apply
// to its target after the variables are filled in.
type Template struct {
	Target string `json:"target"`
	Body   string `json:"body"`
}

// Fill returns a text of the template with values in the place of the
// variables' names.
func (e *Entry) Fill(text string, value func(Var) (string, error)) (string, error) {
	for _, v := range e.Vars {
		own, err := value(v)
		if err != nil {
			return "", fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if v.Form == "upper" {
			own = strings.ToUpper(own)
		}
		text = strings.ReplaceAll(text, "${"+v.Name+"}", own)
	}
	return text, nil
}

// Request is what was sent.
type Request struct {
	Method   string    `json:"method"`
	URL      string    `json:"url"`
	Headers  []Pair    `json:"headers"`
	PostData *PostData `json:"postData"`
}

// Pair is a name with a value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PostData is the body of a request.
type PostData struct {
	Text     string `json:"text"`
	Encoding string `json:"_encoding"` // base64 or empty
}

// Response is what was answered.
type Response struct {
	Status  int     `json:"status"`
	Headers []Pair  `json:"headers"`
	Content Content `json:"content"`
}

// Content is the body of an answer.
type Content struct {
	MimeType    string `json:"mimeType"`
	Text        string `json:"text"`
	Encoding    string `json:"encoding"`    // base64 or empty
	Compression *int   `json:"compression"` // set if it came compressed
	Partial     bool   `json:"_partial"`    // endless; the recorder stopped reading
	Sanitized   bool   `json:"_sanitized"`  // values were made neutral
}

// Dir returns the folder that holds the recordings.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "testdata")
}

// Versions returns the versions of agents that there are recordings of.
func Versions() ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(Dir(), "*", "*.har"))
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, d := range dirs {
		v := filepath.Base(filepath.Dir(d))
		if len(versions) == 0 || versions[len(versions)-1] != v {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// Load reads all recordings of a version, ordered by scenario.
func Load(version string) ([]*Recording, error) {
	files, err := filepath.Glob(filepath.Join(Dir(), version, "*.har"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no recordings of version %s in %s", version, Dir())
	}
	var all []*Recording
	for _, f := range files {
		r, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		r.File, r.Version, r.Scenario = f, version, strings.TrimSuffix(filepath.Base(f), ".har")
		all = append(all, r)
	}
	return all, nil
}

func read(file string) (*Recording, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var har struct {
		Log struct {
			Comment string   `json:"comment"`
			Agents  []Agent  `json:"_agents"`
			Events  []Event  `json:"_events"`
			Entries []*Entry `json:"entries"`
		} `json:"log"`
	}
	if err := json.Unmarshal(data, &har); err != nil {
		return nil, err
	}
	l := har.Log
	return &Recording{Title: l.Comment, Agents: l.Agents, Events: l.Events, Entries: l.Entries}, nil
}

// Target returns the path of the request with its query, as it was sent.
func (r *Request) Target() string {
	_, rest, _ := strings.Cut(r.URL, "://")
	_, target, _ := strings.Cut(rest, "/")
	return "/" + target
}

// Path returns the path of the request as it was sent, without its query.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target(), "?")
	return path
}

// Body returns the body of the request, or nil if it had none.
func (r *Request) Body() []byte {
	if r.PostData == nil {
		return nil
	}
	return decodeText(r.PostData.Text, r.PostData.Encoding)
}

// Header returns the headers of the answer.
func (r *Response) Header() http.Header {
	h := http.Header{}
	for _, p := range r.Headers {
		h.Add(p.Name, p.Value)
	}
	return h
}

// Body returns the body of the answer, decompressed.
func (r *Response) Body() []byte { return decodeText(r.Content.Text, r.Content.Encoding) }

func decodeText(text, encoding string) []byte {
	if encoding == "base64" {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic("recording: " + err.Error()) // a file of ours is damaged
		}
		return data
	}
	return []byte(text)
}

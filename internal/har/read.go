package har

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
	"time"
)

// This file reads archives, those of other programs included: browsers, proxies
// and debuggers write HAR, each a little differently.

// Read reads an archive from a file. Its entries are sorted by their start.
func Read(file string) ([]Entry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err // names the file
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	entries, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return entries, nil
}

// byteOrderMark is what some programs begin an archive with.
const byteOrderMark = "\ufeff"

// Parse reads an archive. Its entries are sorted by their start.
func Parse(data []byte) ([]Entry, error) {
	var file struct {
		Log *struct {
			Version string            `json:"version"` // empty means 1.1
			Creator json.RawMessage   `json:"creator"`
			Entries []json.RawMessage `json:"entries"`
		} `json:"log"`
	}
	if err := decode(bytes.TrimPrefix(data, []byte(byteOrderMark)), &file); err != nil {
		return nil, err
	}
	switch {
	case file.Log == nil:
		return nil, errors.New("log is missing: not a HAR file")
	case !slices.Contains([]string{"", "1.1", "1.2"}, file.Log.Version):
		return nil, fmt.Errorf(`log.version: want "1.2", not %q`, file.Log.Version)
	case file.Log.Entries == nil:
		return nil, errors.New("log.entries is missing")
	}
	var creator Creator
	if json.Unmarshal(file.Log.Creator, &creator) != nil {
		creator = Creator{}
	}
	entries := make([]Entry, 0, len(file.Log.Entries))
	for i, raw := range file.Log.Entries {
		e, err := decodeEntry(raw, creator.Name)
		isReplayable := false
		if err == nil {
			isReplayable, err = e.check()
		}
		if err != nil {
			where := fmt.Sprintf("entry %d", i+1)
			if e.ID != "" {
				where += " (" + e.ID + ")"
			}
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if isReplayable {
			entries = append(entries, e)
		}
	}
	return entries, order(entries)
}

// ownFields are the fields that this package adds to the format, and what their
// values look like.
var ownFields = map[string]func() any{
	"_id":       func() any { return new(string) },
	"_seq":      func() any { return new(Seq) },
	"_error":    func() any { return new(string) },
	"_partial":  func() any { return new(bool) },
	"_encoding": func() any { return new(string) },
}

// decodeEntry decodes an entry. In archives that name no creator, and in those of
// the project's own tool for real agents, what has the name and the form of one of
// our additions is taken for it.
func decodeEntry(raw json.RawMessage, creator string) (e Entry, err error) {
	mayBeOurs := creator == CreatorName || creator == "recorder" || creator == ""
	if mayBeOurs {
		if err = decode(raw, &e); err == nil || creator == CreatorName {
			return e, err
		}
		e = Entry{}
	}
	if raw, err = plainEntry(raw, mayBeOurs); err != nil {
		return e, err
	}
	err = decode(raw, &e)
	return e, err
}

// plainEntry returns an entry of another program as this package would write it:
// without the additions of others, and with whole numbers as such.
func plainEntry(entry json.RawMessage, mayBeOurs bool) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(entry))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(plainValue(v, mayBeOurs))
}

func plainValue(v any, mayBeOurs bool) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1e15 {
			return int64(f) // from 200.0
		}
	case []any:
		for i, e := range v {
			v[i] = plainValue(e, mayBeOurs)
		}
	case map[string]any:
		for name, value := range v {
			if strings.HasPrefix(name, "_") && !(mayBeOurs && isOwnField(name, value)) {
				delete(v, name)
				continue
			}
			v[name] = plainValue(value, mayBeOurs)
		}
	}
	return v
}

func isOwnField(name string, value any) bool {
	form := ownFields[name]
	if form == nil {
		return false
	}
	data, err := json.Marshal(value)
	return err == nil && json.Unmarshal(data, form()) == nil
}

// decode decodes JSON, and tells where it is wrong.
func decode(data []byte, out any) error {
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

// check returns what is wrong with an entry, and else whether a request can be
// made again that it responds to: those of websockets, and what a browser loads from
// elsewhere than a server, cannot.
func (e *Entry) check() (isReplayable bool, err error) {
	if e.Request.Method == "" {
		return false, errors.New("request.method is missing")
	}
	u, err := url.Parse(e.Request.URL)
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape):
	case err != nil:
		return false, fmt.Errorf("request.url: %w", err)
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https", e.Answer.Status == 101:
		return false, nil
	case u.Host != "" && u.Path == "":
		u.Path = "/"
	case !strings.HasPrefix(u.Path, "/"):
		return false, fmt.Errorf("request.url %q: want an absolute URL", e.Request.URL)
	}
	e.Request.Parsed = u
	if p := e.Request.PostData; p != nil {
		if e.Request.Body, err = decodeText(p.Text, p.Encoding); err != nil {
			return false, fmt.Errorf("request.postData: %w", err)
		}
	}
	if e.Answer.Body, err = decodeText(e.Answer.Content.Text, e.Answer.Content.Encoding); err != nil {
		return false, fmt.Errorf("response.content: %w", err)
	}
	switch {
	case e.Answer.Status != 0 && (e.Answer.Status < 200 || e.Answer.Status > 999):
		return false, fmt.Errorf("response.status %d: want 200 to 999, or 0 for none", e.Answer.Status)
	case e.Time < 0 || e.Time > 1e12:
		return false, fmt.Errorf("time %v: want milliseconds", e.Time)
	case e.Seq != nil && e.Seq.Start >= e.Seq.End:
		return false, fmt.Errorf("_seq: start %d is not before end %d", e.Seq.Start, e.Seq.End)
	case e.Seq == nil && e.Started.IsZero():
		return false, errors.New("startedDateTime is missing")
	}
	return true, nil
}

// order sorts entries by their start. Archives of other programs have no places
// in a common order. Theirs are made from the times.
func order(entries []Entry) error {
	without := slices.IndexFunc(entries, func(e Entry) bool { return e.Seq == nil })
	if without < 0 {
		sort.SliceStable(entries, func(i, j int) bool { return entries[i].Seq.Start < entries[j].Seq.Start })
		return nil
	}
	if with := slices.IndexFunc(entries, func(e Entry) bool { return e.Seq != nil }); with >= 0 {
		return fmt.Errorf("entry %d has no _seq, but entry %d has", without+1, with+1)
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Started.Before(entries[j].Started.Time) })
	type moment struct {
		at    time.Time
		place *int
	}
	moments := make([]moment, 0, 2*len(entries))
	isCoarse := !slices.ContainsFunc(entries, func(e Entry) bool { return e.Started.Nanosecond()%int(time.Millisecond) != 0 })
	for i := range entries {
		e := &entries[i]
		e.ByClock, e.Seq = true, &Seq{}
		moments = append(moments, moment{e.Started.Time, &e.Seq.Start}, moment{e.ended(isCoarse), &e.Seq.End})
	}
	sort.SliceStable(moments, func(i, j int) bool { return moments[i].at.Before(moments[j].at) })
	for i, m := range moments {
		*m.place = i + 1
	}
	return nil
}

// ended returns when an entry had ended. If the clock is coarse, the beginnings
// are off by up to a millisecond, but the durations are not; the end is then the
// earliest that is possible, so that what followed it does not seem to overlap it.
func (e *Entry) ended(isCoarse bool) time.Time {
	ms := e.Time
	if isCoarse {
		ms = max(math.Floor(ms)-1, 0)
	}
	return e.Started.Add(time.Duration(ms * float64(time.Millisecond)))
}

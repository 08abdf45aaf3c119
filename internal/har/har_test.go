package har

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHARErrors(t *testing.T) {
	entry := func(fields string) string { return `{"log":{"version":"1.2","entries":[` + fields + `]}}` }
	const req, resp, seq = `"request":{"method":"GET","url":"http://a/"}`, `"response":{"status":200}`, `"_seq":{"start":1,"end":2}`
	tests := []struct{ name, har, want string }{
		{"empty", ``, "byte 0: unexpected end of JSON input"},
		{"not JSON", `{"log":?}`, "byte 8: invalid character '?'"},
		{"not an object", `[]`, "it is a JSON array; want an object"},
		{"something else", `{}`, "log is missing: not a HAR file"},
		{"version", `{"log":{"version":"2.0","entries":[]}}`, `log.version: want "1.2"`},
		{"no entries", `{"log":{"version":"1.2"}}`, "log.entries is missing"},
		{"entries", `{"log":{"version":"1.2","entries":{}}}`, "log.entries: it is a JSON object; want an array"},
		{"entry", entry(`1`), "entry 1: it is a JSON number; want an object"},
		{"second entry", entry(`{` + req + `,` + resp + `,` + seq + `},{"_id":"e002","request":{"method":1}}`), "entry 2 (e002): request.method: it is a JSON number; want a string"},
		{"no method", entry(`{"request":{"url":"http://a/"}}`), "entry 1: request.method is missing"},
		{"url", entry(`{"request":{"method":"GET","url":"a"}}`), `entry 1: request.url "a": want an absolute URL`},
		{"malformed url", entry(`{"request":{"method":"GET","url":"http://a b/"}}`), "entry 1: request.url: "},
		{"status text", entry(`{` + req + `,"response":{"status":"200"}}`), "entry 1: response.status: it is a JSON string; want a whole number"},
		{"status", entry(`{` + req + `,"response":{"status":100},` + seq + `}`), "entry 1: response.status 100: want 200 to 999"},
		{"headers", entry(`{` + req + `,"response":{"headers":{}}}`), "entry 1: response.headers: it is a JSON object; want an array"},
		{"base64", entry(`{` + req + `,"response":{"status":200,"content":{"text":"?","encoding":"base64"}}}`), "entry 1: response.content: text is not base64"},
		{"encoding", entry(`{` + req + `,"response":{"status":200,"content":{"text":"","encoding":"gzip"}}}`), `entry 1: response.content: encoding "gzip"`},
		{"post encoding", entry(`{"request":{"method":"PUT","url":"http://a/","postData":{"text":"?","_encoding":"base64"}}}`), "entry 1: request.postData: text is not base64"},
		{"no time", entry(`{` + req + `,` + resp + `}`), "entry 1: startedDateTime is missing"},
		{"bad time", entry(`{` + req + `,` + resp + `,"startedDateTime":"yesterday"}`), "entry 1: startedDateTime: "},
		{"duration", entry(`{` + req + `,` + resp + `,` + seq + `,"time":-1}`), "entry 1: time -1: want milliseconds"},
		{"order", entry(`{` + req + `,` + resp + `,"_seq":{"start":2,"end":2}}`), "entry 1: _seq: start 2 is not before end 2"},
		{"mixed", entry(`{` + req + `,` + resp + `,` + seq + `},{` + req + `,` + resp + `,"startedDateTime":"2026-01-01T00:00:00Z"}`), "entry 2 has no _seq, but entry 1 has"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.har")
			if err := os.WriteFile(file, []byte(tt.har), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(file)
			if err == nil || !strings.HasPrefix(err.Error(), file+": "+tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
	if _, err := Read("testdata/none.har"); err == nil || !strings.Contains(err.Error(), "none.har") {
		t.Errorf("got %v", err)
	}
}

// Archives of other programs have times only.
func TestHAROrderByTime(t *testing.T) {
	const har = `{"log":{"version":"1.2","entries":[
		{"_id":"b","startedDateTime":"2026-01-01T00:00:01Z","time":100,"request":{"method":"GET","url":"http://a/b"},"response":{"status":200}},
		{"_id":"a","startedDateTime":"2026-01-01T00:00:00.5+00:00","time":5000,"request":{"method":"GET","url":"http://a/a"},"response":{"status":200}}]}}`
	entries, err := Parse([]byte(har))
	if err != nil {
		t.Fatal(err)
	}
	if entries[0].ID != "a" || *entries[0].Seq != (Seq{1, 4}) || *entries[1].Seq != (Seq{2, 3}) {
		t.Errorf("got %s %v, %s %v", entries[0].ID, *entries[0].Seq, entries[1].ID, *entries[1].Seq)
	}
}

func FuzzHAR(f *testing.F) {
	f.Add([]byte(`{"log":{"version":"1.2","entries":[{"_seq":{"start":1,"end":2},"request":{"method":"GET","url":"http://a/b?c","headers":[{"name":"X","value":"y"}]},"response":{"status":200,"content":{"text":"eA==","encoding":"base64"}}}]}}`))
	f.Add([]byte(`{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-01T00:00:01Z","time":1e11,"request":{"method":"GET","url":"http://a/b"},"response":{"status":200}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Parse(data)
		if err != nil {
			return
		}
		// What can be read can be written and read again.
		if data, err = json.Marshal(File{Log{Version: "1.2", Entries: entries}}); err != nil {
			t.Fatal(err)
		}
		if entries != nil {
			if _, err := Parse(data); err != nil {
				t.Errorf("%v in %s", err, data)
			}
		}
	})
}

// What other programs write is read, as far as it is about requests that can be
// made again.
func TestHARForeign(t *testing.T) {
	const entry = `{"_id":5,"_seq":"x","_error":null,"_priority":"High","startedDateTime":"2026-01-01T00:00:00.000+0000","time":12.0,
		"request":{"method":"GET","url":"http://a/v1/x","headersSize":-1.0,"bodySize":0.0},
		"response":{"status":200.0,"headers":[{"name":":status","value":"200"}],"content":{"size":3.0,"text":"eA==","encoding":"base64","_partial":1},"bodySize":1e1}}`
	with := func(status int, url string) string {
		return fmt.Sprintf(`{"startedDateTime":"2026-01-01T00:00:01Z","time":1,"request":{"method":"GET","url":%q},"response":{"status":%d}}`, url, status)
	}
	tests := map[string]struct {
		har  string
		want int // entries
	}{
		"byte order mark": {"\ufeff" + `{"log":{"version":"1.2","entries":[` + entry + `]}}`, 1},
		"empty version":   {`{"log":{"version":"","entries":[` + entry + `]}}`, 1},
		"no version":      {`{"log":{"entries":[` + entry + `]}}`, 1},
		"other creator":   {`{"log":{"version":"1.1","creator":{"name":"browser"},"entries":[` + strings.Replace(entry, `"_seq":"x"`, `"_seq":{"start":3,"end":1}`, 1) + `]}}`, 1},
		"creator":         {`{"log":{"version":"1.2","creator":5,"entries":[` + entry + `]}}`, 1},
		"websocket":       {`{"log":{"version":"1.2","entries":[` + entry + `,` + with(101, "ws://a/ws") + `]}}`, 1},
		"no path":         {`{"log":{"version":"1.2","entries":[` + entry + `,` + with(200, "http://a") + `,` + with(200, "http://a?x") + `]}}`, 3},
		"data":            {`{"log":{"version":"1.2","entries":[` + entry + `,` + with(200, "data:text/plain,x") + `,` + with(200, "about:blank") + `,` + with(200, "blob:http://a/x") + `]}}`, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			entries, err := Parse([]byte(tt.har))
			if err != nil || len(entries) != tt.want {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			if e := entries[0]; string(e.Answer.Body) != "x" || e.Answer.Content.Partial || e.ID != "" || e.Request.Parsed.Path != "/v1/x" {
				t.Errorf("got %+v", e)
			}
			for _, e := range entries {
				if !strings.HasPrefix(e.Request.Parsed.Path, "/") {
					t.Errorf("path %q", e.Request.Parsed.Path)
				}
			}
		})
	}
	// Those of the recorder are checked.
	for _, field := range []string{`"_id":5`, `"_seq":"x"`, `"_seq":{"start":3,"end":1}`} {
		har := `{"log":{"version":"1.2","creator":{"name":"consulmock"},"entries":[{` + field + `,"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"GET","url":"http://a/"}}]}}`
		if _, err := Parse([]byte(har)); err == nil {
			t.Errorf("%s is accepted", field)
		}
	}
	if _, err := Parse([]byte(`{"log":{"version":"1.2","entries":[{"request":{"method":"GET","url":"http://a/"},"response":{"status":200.5}}]}}`)); err == nil || !strings.Contains(err.Error(), "response.status: it is a JSON number 200.5; want a whole number") {
		t.Errorf("got %v", err)
	}
}

// The clocks of other programs are cut to milliseconds, so that a query that
// follows a response seems to overlap it by up to one.
func TestHAROrderByCoarseClock(t *testing.T) {
	const har = `{"log":{"version":"1.2","entries":[
		{"startedDateTime":"2026-01-01T00:00:00.100Z","time":50.9,"request":{"method":"GET","url":"http://a/1"},"response":{"status":200}},
		{"startedDateTime":"2026-01-01T00:00:00.150Z","time":0.2,"request":{"method":"GET","url":"http://a/2"},"response":{"status":200}},
		{"startedDateTime":"2026-01-01T00:00:00.150Z","time":0.2,"request":{"method":"GET","url":"http://a/3"},"response":{"status":200}}]}}`
	entries, err := Parse([]byte(har))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Seq{{1, 2}, {3, 4}, {5, 6}} {
		if got := *entries[i].Seq; got != want {
			t.Errorf("entry %d: %v, want %v", i, got, want)
		}
	}
}

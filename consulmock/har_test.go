package consulmock

import (
	"encoding/json"
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
			_, err := NewReplayServer(file, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "consulmock: "+file+": "+tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
	if _, err := NewReplayServer("testdata/none.har", nil); err == nil || !strings.Contains(err.Error(), "none.har") {
		t.Errorf("got %v", err)
	}
}

// Archives of other programs have times only.
func TestHAROrderByTime(t *testing.T) {
	const har = `{"log":{"version":"1.2","entries":[
		{"_id":"b","startedDateTime":"2026-01-01T00:00:01Z","time":100,"request":{"method":"GET","url":"http://a/b"},"response":{"status":200}},
		{"_id":"a","startedDateTime":"2026-01-01T00:00:00.5+00:00","time":5000,"request":{"method":"GET","url":"http://a/a"},"response":{"status":200}}]}}`
	entries, err := parseHAR([]byte(har))
	if err != nil {
		t.Fatal(err)
	}
	if entries[0].ID != "a" || *entries[0].Seq != (harSeq{1, 4}) || *entries[1].Seq != (harSeq{2, 3}) {
		t.Errorf("got %s %v, %s %v", entries[0].ID, *entries[0].Seq, entries[1].ID, *entries[1].Seq)
	}
}

func FuzzHAR(f *testing.F) {
	f.Add([]byte(replayedHAR))
	f.Add([]byte(`{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-01T00:00:01Z","time":1e11,"request":{"method":"GET","url":"http://a/b"},"response":{"status":200}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseHAR(data)
		if err != nil {
			return
		}
		newReplayer("", entries, nil)
		// What can be read can be written and read again.
		if data, err = json.Marshal(harFile{harLog{Version: "1.2", Entries: entries}}); err != nil {
			t.Fatal(err)
		}
		if entries != nil {
			if _, err := parseHAR(data); err != nil {
				t.Errorf("%v in %s", err, data)
			}
		}
	})
}

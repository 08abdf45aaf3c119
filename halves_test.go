package consul

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// halves decodes an answer in two halves into a value of out's type, if that is
// possible.
func halves(data []byte, out any) any {
	switch out.(type) {
	case *[]*ServiceEntry:
		return inHalves(data, (*decoder).serviceEntry, `{"Node":{`)
	case *HealthChecks:
		return HealthChecks(inHalves(data, (*decoder).healthCheck, `{"Node":`))
	case *[]*CatalogService:
		return inHalves(data, (*decoder).catalogService, `{"ID":`)
	}
	return nil
}

// checkHalves compares the halves of an answer with the whole, if it has halves.
func checkHalves(t *testing.T, data []byte, whole any) {
	t.Helper()
	got := reflect.ValueOf(halves(data, whole))
	if got.IsValid() && !got.IsNil() && !reflect.DeepEqual(got.Interface(), reflect.ValueOf(whole).Elem().Interface()) {
		t.Fatalf("%T of %q: its halves are %v", whole, data, got)
	}
}

func TestInHalves(t *testing.T) {
	for _, n := range []int{3, 10, 300} {
		data := instances(t, n)
		var entries []*ServiceEntry
		if _, bad := decodeHot(data, &entries); bad != nil {
			t.Fatal(bad)
		}
		if got := halves(data, &entries); !reflect.DeepEqual(got, entries) || len(entries) != n {
			t.Errorf("%d instances: got %v, want %v", n, got, entries)
		}
	}

	const node = `{"Node":{"Node":"n"}}`
	many := strings.Repeat(node+",", 9)
	for name, data := range map[string]string{
		"no list":                       strings.Repeat(" ", 300) + "},{\"Node\":{",
		"one instance":                  "[" + node + "]",
		"no start in the second half":   "[" + many + strings.Repeat(" ", 300) + node + "]",
		"a start in a list in the list": `[{"Unknown":[` + many + node + `]}]`,
		"a start in a string":           `[` + node + `,{"Node":{"Meta":{"` + strings.Repeat("a", 100) + `},{\"Node\":{":"` + strings.Repeat("b", 100) + `"}}}]`,
		"an error in the first half":    `[{"Node":1},` + many + many + node + `]`,
		"an error in the second half":   `[` + many + many + `{"Node":1}]`,
		"no end":                        `[` + many + node,
		"more than the list":            `[` + many + node + `]]`,
		"two commas":                    `[` + many + node + `,,` + many + node + `]`,
	} {
		if got := inHalves([]byte(data), (*decoder).serviceEntry, `{"Node":{`); got != nil {
			t.Errorf("%s: got %d instances", name, len(got))
		}
	}
}

// TestLongAnswers makes sure that an answer that is decoded in halves fails in the
// same words as one that is not.
func TestLongAnswers(t *testing.T) {
	data := string(instances(t, 300))
	if len(data) < splitFrom {
		t.Fatalf("%d bytes are not long", len(data))
	}
	for name, at := range map[string]int{"first": 10, "second": 290} {
		bad := strings.Replace(data, fmt.Sprintf(`"Node":"client%d"`, at), `"Node":[]`, 1)
		var entries []*ServiceEntry
		err := decode([]byte(bad), "application/json", &entries)
		var short []*ServiceEntry
		d := decoder{data: []byte(bad)}
		list(&d, &short, (*decoder).serviceEntry)
		if err == nil || d.err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d of %d: %v", d.err.position, len(bad), d.err)) {
			t.Errorf("an error in the %s half: got %v, want %v", name, err, d.err)
		}
	}
}

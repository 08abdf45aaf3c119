package consul

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fill sets every field of a struct to something else than zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(90 * time.Second))
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeOf(json.RawMessage{}) {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(elem)
		v.SetMapIndex(reflect.ValueOf("k"), elem)
	default:
		panic(v.Type())
	}
}

// TestRoundTrips encodes each type with all fields set and decodes it again.
func TestRoundTrips(t *testing.T) {
	for _, v := range []any{
		new(HealthCheck), new(HealthCheckDefinition), new(AgentServiceCheck), new(ServiceEntry), new(CatalogService),
		new(CatalogNode), new(CatalogNodeServiceList), new(GatewayService), new(AgentServiceRegistration), new(AgentServiceHealth),
		new(AgentSelf), new(AgentHost), new(AgentMetrics), new(AgentMember), new(CatalogDeregistration),
	} {
		fill(reflect.ValueOf(v).Elem())
		if r, ok := v.(*AgentServiceRegistration); ok {
			r.ReplaceExistingChecks = false
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(data, again); err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%T: %v\n got %s\nwant %s", v, err, show(again), data)
		}
	}
	reg := &AgentCheckRegistration{ID: "i", Name: "n", Notes: "o", ServiceID: "s", Namespace: "ns", Partition: "p",
		AgentServiceCheck: AgentServiceCheck{TTL: time.Second, Args: []string{"a"}}}
	data, err := json.Marshal(reg)
	again := new(AgentCheckRegistration)
	if err != nil || json.Unmarshal(data, again) != nil || !reflect.DeepEqual(reg, again) {
		t.Errorf("AgentCheckRegistration: %v\n got %s\nwant %s", err, show(again), data)
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`"10s"`: 10 * time.Second, `"1m0s"`: time.Minute, `""`: 0, `null`: 0, `0`: 0, `5000000000`: 5 * time.Second, `"-1s"`: -time.Second,
	} {
		var c HealthCheck
		if err := json.Unmarshal([]byte(`{"Interval":`+in+`}`), &c); err != nil || c.Interval != want {
			t.Errorf("%s: got %s, %v", in, c.Interval, err)
		}
	}
	for in, words := range map[string]string{`"abc"`: `duration "abc"`, `"5"`: `duration "5"`, `true`: "bool", `1.5`: "1.5", `{}`: "object"} {
		var c AgentServiceCheck
		if err := json.Unmarshal([]byte(`{"TTL":`+in+`}`), &c); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

// TestH2PingUseTLS checks the one field whose absence agents take for true.
func TestH2PingUseTLS(t *testing.T) {
	for in, want := range map[string]bool{`{"H2PING":"h:1"}`: true, `{"H2PING":"h:1","H2PingUseTLS":false}`: false, `{"TTL":"1s"}`: false} {
		var c AgentServiceCheck
		if err := json.Unmarshal([]byte(in), &c); err != nil || c.H2PingUseTLS != want {
			t.Errorf("%s: got %t, %v", in, c.H2PingUseTLS, err)
		}
		data, err := json.Marshal(c)
		var again AgentServiceCheck
		if err != nil || json.Unmarshal(data, &again) != nil || again.H2PingUseTLS != want {
			t.Errorf("%s becomes %s (%v)", in, data, err)
		}
	}
}

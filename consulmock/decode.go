package consulmock

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bodyKind is what an agent says about a kind of body when it cannot read it:
// the words of its decoder, which name the types of its own source.
type bodyKind struct {
	goType  map[version]string // of the whole body
	prefix  map[version]string // of a field
	unknown []string           // fields that 1.8.7 does not know
}

var (
	serviceBody = &bodyKind{
		goType: both(`struct { EnableTagOverrideSnake bool "json:\"enable_tag_override\""; ` +
			`TaggedAddressesSnake map[string]structs.ServiceAddress "json:\"tagged_addresses\""; *structs.Alias }`),
		prefix:  aliasPrefix,
		unknown: []string{"SocketPath", "Locality"},
	}
	checkBody = &bodyKind{
		goType: map[version]string{
			v1_21_4: checkTypeHead + `TLSServerNameSnake string "json:\"tls_server_name\""; TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ` +
				`TCPUseTLSSnake bool "json:\"tcp_use_tls\""; GRPCUseTLSSnake bool "json:\"grpc_use_tls\""; ServiceIDSnake string "json:\"service_id\""; ` +
				`H2PingUseTLSSnake bool "json:\"h2ping_use_tls\""; DisableRedirectsSnake bool "json:\"disable_redirects\""; *structs.Alias }`,
			v1_8_7: checkTypeHead + `TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
		},
		prefix:  aliasPrefix,
		unknown: newCheckFields,
	}
	// The checks in a service definition are read as those of 1.21.4; what is new
	// in it is refused afterwards.
	nestedCheckBody = &bodyKind{
		goType: map[version]string{
			v1_21_4: checkTypeHead + `TLSServerNameSnake string "json:\"tls_server_name\""; TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ` +
				`TCPUseTLSSnake bool "json:\"tcp_use_tls\""; GRPCUseTLSSnake bool "json:\"grpc_use_tls\""; H2PingUseTLSSnake bool "json:\"h2ping_use_tls\""; ` +
				`ServiceID string "json:\"ServiceID\""; ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
			v1_8_7: checkTypeHead + `TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ServiceID string "json:\"ServiceID\""; ` +
				`ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
		},
		prefix: aliasPrefix,
	}
	checkUpdateBody = &bodyKind{
		goType: both("agent.checkUpdate"),
		prefix: both("checkUpdate."),
	}
	catalogRegisterBody = &bodyKind{
		goType: both("structs.RegisterRequest"),
		prefix: both("RegisterRequest."),
	}
	catalogDeregisterBody = &bodyKind{
		goType: both("struct { Address string; *structs.Alias }"),
		prefix: aliasPrefix,
	}
	plainBody = &bodyKind{goType: both("map[string]interface {}"), prefix: both(".")}

	aliasPrefix = map[version]string{v1_21_4: ".Alias.", v1_8_7: "."}

	newCheckFields = []string{"UDP", "H2PING", "H2PingUseTLS", "OSService", "DisableRedirects", "FailuresBeforeWarning",
		"TCPUseTLS", "TLSServerName", "tls_server_name", "tcp_use_tls", "grpc_use_tls", "h2ping_use_tls", "disable_redirects"}
)

const checkTypeHead = `struct { Interval interface {}; Timeout interface {}; TTL interface {}; DeregisterCriticalServiceAfter interface {}; ` +
	`Args []string "json:\"args\""; ScriptArgsSnake []string "json:\"script_args\""; ` +
	`DeregisterCriticalServiceAfterSnake interface {} "json:\"deregister_critical_service_after\""; DockerContainerIDSnake string "json:\"docker_container_id\""; `

func both(s string) map[version]string { return map[version]string{v1_8_7: s, v1_21_4: s} }

// decode reads the first JSON value of the request's body. Fields that v has
// not are refused, as are those that the agent's version does not know.
func (q *request) decode(v any, kind *bodyKind) error {
	if err := kind.decode(q.v, q.body, v); err != nil {
		return &httpError{http.StatusBadRequest, "Request decode failed: " + err.Error()}
	}
	return nil
}

func (k *bodyKind) decode(ver version, data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var wrong *json.UnmarshalTypeError
	var nested *nestedTypeError
	switch {
	case errors.As(err, &nested):
		return nested.in(ver, data)
	case errors.As(err, &wrong):
		return k.typeError(ver, wrong)
	case err != nil:
		return err
	case ver == v1_8_7:
		return k.refuseNew(data)
	}
	return nil
}

// typeError puts a wrong type in the agent's words.
func (k *bodyKind) typeError(ver version, e *json.UnmarshalTypeError) error {
	if e.Field == "" {
		return errors.New("json: cannot unmarshal " + e.Value + " into Go value of type " + k.goType[ver])
	}
	field := strings.ReplaceAll(e.Field, "checkType.", "")
	typ := strings.NewReplacer("[]*consulmock.serviceCheck", "structs.CheckTypes", "consul.", "structs.", "consulmock.", "structs.").Replace(e.Type.String())
	return errors.New("json: cannot unmarshal " + e.Value + " into Go struct field " + k.prefix[ver] + field + " of type " + typ)
}

// nestedTypeError is a wrong type in a check of a service definition.
type nestedTypeError struct{ value, field, typ string }

// Error implements error.
func (e *nestedTypeError) Error() string { return "json: cannot unmarshal " + e.value }

// in puts the error in the agent's words, which say where in the definition the
// check is if it is not an object at all.
func (e *nestedTypeError) in(ver version, data []byte) error {
	field, typ := strings.ReplaceAll(e.field, "checkType.", ""), e.typ
	if field == "" {
		field, typ = "Checks", nestedCheckBody.goType[ver]
		var d struct{ Check json.RawMessage }
		if json.NewDecoder(bytes.NewReader(data)).Decode(&d); len(d.Check) > 0 && d.Check[0] != '{' {
			field = "Check"
		}
	}
	return errors.New("json: cannot unmarshal " + e.value + " into Go struct field " + aliasPrefix[ver] + field + " of type " + typ)
}

// refuseNew refuses the fields that 1.8.7 does not know. The names of fields do
// not depend on case.
func (k *bodyKind) refuseNew(data []byte) error {
	if len(k.unknown) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(data)).Decode(&fields) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.ContainsFunc(k.unknown, func(u string) bool { return strings.EqualFold(u, name) }) {
			return errors.New(`json: unknown field "` + name + `"`)
		}
	}
	return nil
}

// wireDuration is a duration in a request: a string in Go's form, or a number of
// nanoseconds. Anything else is ignored, as agents do.
type wireDuration struct {
	set bool
	d   time.Duration
}

// UnmarshalJSON implements [json.Unmarshaler].
func (w *wireDuration) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*w = wireDuration{true, d}
	case float64:
		*w = wireDuration{true, time.Duration(v)}
	}
	return nil
}

// or returns the first of two durations that is set.
func (w wireDuration) or(other wireDuration) time.Duration {
	if w.set {
		return w.d
	}
	return other.d
}

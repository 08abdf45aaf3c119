package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// This file exists for error messages: encoding/json reads the bodies. A malformed
// one is refused in the words of the agent's own decoder, which name Go types from
// inside Consul.

// bodyKind is what an agent reports about a kind of body when it cannot read it:
// the words of its decoder, which name the types of its own source.
type bodyKind struct {
	goType  map[release.Version]string // of the whole body
	name    string                     // of the struct
	alias   bool                       // its fields are in a struct called Alias, which 1.21.4 tells
	inner   map[string]string          // the struct in Alias that a field is in
	outer   []string                   // the fields that are not, beside those with underscores
	types   map[string]string          // of fields that have types of their own
	unknown []string                   // fields that 1.8.7 does not know; those of structs with their paths
	fragile []string                   // where a null breaks the agent; lists have a dot at the end
	catalog bool                       // it is for the servers, who tell what Enterprise has
	loose   bool                       // fields that are not known are ignored
}

// The bodies that are read here, and the parts of service definitions that agents
// read apart.
var (
	serviceBody = &bodyKind{
		goType: both(`struct { EnableTagOverrideSnake bool "json:\"enable_tag_override\""; ` +
			`TaggedAddressesSnake map[string]structs.ServiceAddress "json:\"tagged_addresses\""; *structs.Alias }`),
		alias: true,
		types: map[string]string{"Kind": "structs.ServiceKind"},
		unknown: append(append([]string{"SocketPath", "Locality"}, below(newProxyFields, "Proxy.", "Connect.SidecarService.Proxy.", "Connect.sidecar_service.Proxy.")...),
			below(newCheckFields, "Check.", "Checks.", "Connect.SidecarService.Check.", "Connect.SidecarService.Checks.")...),
		fragile: below(listsOfProxies, "Proxy.", "Connect.SidecarService.Proxy.", "Connect.sidecar_service.Proxy."),
	}
	CheckBody = &bodyKind{
		goType: map[release.Version]string{
			release.V1_21_4: checkTypeHead + `TLSServerNameSnake string "json:\"tls_server_name\""; TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ` +
				`TCPUseTLSSnake bool "json:\"tcp_use_tls\""; GRPCUseTLSSnake bool "json:\"grpc_use_tls\""; ServiceIDSnake string "json:\"service_id\""; ` +
				`H2PingUseTLSSnake bool "json:\"h2ping_use_tls\""; DisableRedirectsSnake bool "json:\"disable_redirects\""; *structs.Alias }`,
			release.V1_8_7: checkTypeHead + `TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
		},
		alias:   true,
		types:   map[string]string{"ID": "types.CheckID"},
		unknown: newCheckFields,
	}
	// The checks in a service definition are read as those of 1.21.4; what is new
	// in it is refused afterwards.
	nestedCheckBody = &bodyKind{
		goType: map[release.Version]string{
			release.V1_21_4: checkTypeHead + `TLSServerNameSnake string "json:\"tls_server_name\""; TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ` +
				`TCPUseTLSSnake bool "json:\"tcp_use_tls\""; GRPCUseTLSSnake bool "json:\"grpc_use_tls\""; H2PingUseTLSSnake bool "json:\"h2ping_use_tls\""; ` +
				`ServiceID string "json:\"ServiceID\""; ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
			release.V1_8_7: checkTypeHead + `TLSSkipVerifySnake bool "json:\"tls_skip_verify\""; ServiceID string "json:\"ServiceID\""; ` +
				`ServiceIDSnake string "json:\"service_id\""; *structs.Alias }`,
		},
		alias: true,
		outer: []string{"ServiceID"},
		types: map[string]string{"CheckID": "types.CheckID"},
	}
	connectBody = &bodyKind{
		goType: both(`struct { SidecarServiceSnake *structs.ServiceDefinition "json:\"sidecar_service\""; *structs.Alias }`),
		alias:  true,
	}
	proxyBody = &bodyKind{
		goType: map[release.Version]string{
			release.V1_21_4: proxyTypeHead + `LocalServiceSocketPathSnake string "json:\"local_service_socket_path\""; ` +
				`MeshGatewaySnake structs.MeshGatewayConfig "json:\"mesh_gateway\""; TransparentProxySnake structs.TransparentProxyConfig "json:\"transparent_proxy\""; ` +
				`AccessLogsSnake structs.AccessLogsConfig "json:\"access_logs\""; *structs.Alias }`,
			release.V1_8_7: proxyTypeHead + `*structs.Alias }`,
		},
		alias: true,
	}
	CheckUpdateBody = &bodyKind{
		goType: both("agent.checkUpdate"),
		name:   "checkUpdate",
	}
	CatalogRegisterBody = &bodyKind{
		goType: both("structs.RegisterRequest"),
		name:   "RegisterRequest",
		types: map[string]string{"ID": "types.NodeID", "Service.Kind": "structs.ServiceKind",
			"Check.CheckID": "types.CheckID", "Checks.CheckID": "types.CheckID",
			"Check.Definition": checkDefinitionType, "Checks.Definition": checkDefinitionType},
		unknown: append([]string{"Locality", "PeerName", "Service.SocketPath", "Service.Locality", "Service.PeerName",
			"Check.Interval", "Check.Timeout", "Check.ExposedPort", "Check.PeerName",
			"Checks.Interval", "Checks.Timeout", "Checks.ExposedPort", "Checks.PeerName"}, below(newProxyFields, "Service.Proxy.")...),
		fragile: append([]string{"Check.Definition", "Checks.Definition", "Service.Proxy"}, below(listsOfProxies, "Service.Proxy.")...),
		catalog: true,
	}
	CatalogDeregisterBody = &bodyKind{
		goType: both("struct { Address string; *structs.Alias }"),
		alias:  true,
		outer:  []string{"Address"},
		types:  map[string]string{"CheckID": "types.CheckID"},

		unknown: []string{"PeerName"},
		catalog: true,
	}
	PlainBody = &bodyKind{goType: both("map[string]interface {}")}

	newCheckFields = []string{"UDP", "H2PING", "H2PingUseTLS", "OSService", "DisableRedirects", "FailuresBeforeWarning",
		"TCPUseTLS", "TLSServerName", "tls_server_name", "tcp_use_tls", "grpc_use_tls", "h2ping_use_tls", "disable_redirects"}
	newProxyFields = []string{"Mode", "TransparentProxy", "LocalServiceSocketPath", "EnvoyExtensions", "AccessLogs"}
	listsOfProxies = []string{"Upstreams.", "Expose.Paths."}
)

// below returns names at each of some paths, which end with a dot.
func below(names []string, paths ...string) (list []string) {
	for _, path := range paths {
		for _, name := range names {
			list = append(list, path+name)
		}
	}
	return list
}

const checkTypeHead = `struct { Interval interface {}; Timeout interface {}; TTL interface {}; DeregisterCriticalServiceAfter interface {}; ` +
	`Args []string "json:\"args\""; ScriptArgsSnake []string "json:\"script_args\""; ` +
	`DeregisterCriticalServiceAfterSnake interface {} "json:\"deregister_critical_service_after\""; DockerContainerIDSnake string "json:\"docker_container_id\""; `

// The definition of a check in the catalog, and in transactions.
const (
	checkDefinitionType = `struct { Interval interface {}; Timeout interface {}; DeregisterCriticalServiceAfter interface {}; TTL interface {}; *structs.Alias }`
	txnDefinitionType   = `struct { IntervalDuration interface {}; TimeoutDuration interface {}; DeregisterCriticalServiceAfterDuration interface {}; *api.Alias }`
)

const proxyTypeHead = `struct { DestinationServiceNameSnake string "json:\"destination_service_name\""; ` +
	`DestinationServiceIDSnake string "json:\"destination_service_id\""; LocalServiceAddressSnake string "json:\"local_service_address\""; ` +
	`LocalServicePortSnake int "json:\"local_service_port\""; `

// structNames has the agent's names of structs that are called otherwise here.
var structNames = map[string]string{
	"ServiceAddress":     "ServiceAddress",
	"AgentWeights":       "Weights",
	"Locality":           "Locality",
	"catalogServiceBody": "NodeService",
	"catalogCheckBody":   "HealthCheck",

	"SessionServiceCheck": "ServiceCheck",
}

// typeNames puts the types of this program in the agent's words.
var typeNames = strings.NewReplacer(
	"[]*definition.ServiceCheck", "structs.CheckTypes",
	"[]*definition.catalogCheckBody", "structs.HealthChecks",
	"definition.catalogCheckBody", "structs.HealthCheck",
	"definition.catalogServiceBody", "structs.NodeService",
	"consul.AgentWeights", "structs.Weights",
	"state.SessionServiceCheck", "structs.ServiceCheck",
	"definition.", "structs.",
	"state.", "structs.",
	"consul.", "structs.",
)

func both(s string) map[release.Version]string {
	return map[release.Version]string{release.V1_8_7: s, release.V1_21_4: s}
}

// Decode reads the first JSON value of a request's body. Fields that v has
// not are refused unless the kind is loose, as are those that the agent's version does not know.
func (k *bodyKind) Decode(ver release.Version, body []byte, v any) error {
	err := k.read(ver, body, v)
	if err != nil && !errors.Is(err, ErrNull) && !errors.Is(err, state.ErrNullDefinition) {
		return refusal.BadRequest("Request decode failed: %v", err)
	}
	return err
}

func (k *bodyKind) read(ver release.Version, data []byte, v any) error {
	if k.hasFragileNull(data) {
		return ErrNull
	}
	if ver == release.V1_8_7 {
		data = k.markNew(data)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if !k.loose {
		dec.DisallowUnknownFields()
	}
	err := dec.Decode(v)
	var wrong *json.UnmarshalTypeError
	var nested *nestedTypeError
	switch {
	case errors.As(err, &nested):
		return nested.text(ver, k, data)
	case errors.As(err, &wrong):
		return k.typeError(ver, wrong)
	case err != nil && k.catalog && err.Error() == `json: unknown field "Namespace"`:
		return errors.New(err.Error() + " - Namespaces are a Consul Enterprise feature")
	case err != nil:
		return unmark(err)
	}
	return durationError(v)
}

// durationError returns what is wrong with the durations of a check.
func durationError(v any) error {
	if c, ok := v.(interface{ durationError() error }); ok {
		return c.durationError()
	}
	return nil
}

// typeError puts a wrong type in the agent's words.
func (k *bodyKind) typeError(ver release.Version, e *json.UnmarshalTypeError) error {
	if e.Field == "" {
		return errors.New("json: cannot unmarshal " + e.Value + " into Go value of type " + k.goType[ver])
	}
	field, typ := k.field(e)
	if ver == release.V1_21_4 {
		field = k.path(field)
	}
	name := k.name
	if s, ok := structNames[e.Struct]; ok {
		name = s
	}
	return errors.New("json: cannot unmarshal " + e.Value + " into Go struct field " + name + "." + field + " of type " + typ)
}

// field returns the agent's names for the field that a wrong type is in, and for
// the type that it should have.
func (k *bodyKind) field(e *json.UnmarshalTypeError) (field, typ string) {
	field = strings.ReplaceAll(e.Field, "CheckType.", "")
	switch typ = k.types[field]; {
	case typ != "" && (e.Type.Kind() == reflect.String || e.Type.Kind() == reflect.Struct):
	case typ != "" && e.Type.Kind() == reflect.Slice:
		typ = "[]" + typ
	default:
		typ = typeNames.Replace(e.Type.String())
	}
	return field, typ
}

// path returns where a field is for 1.21.4: in the struct Alias, unless it has a
// name with underscores.
func (k *bodyKind) path(field string) string {
	first, rest, _ := strings.Cut(field, ".")
	switch {
	case first == "Args":
		return strings.TrimSuffix("args."+rest, ".")
	case !k.alias || strings.Contains(first, "_") || slices.Contains(k.outer, first):
		return field
	}
	if in := k.inner[first]; in != "" {
		field = in + "." + field
	}
	return "Alias." + field
}

// nestedTypeError is a wrong type in a part of a service definition that agents
// read apart.
type nestedTypeError struct {
	kind  *bodyKind
	part  string
	value string
	field string // "" for the whole part; as 1.21.4 has it
	typ   string
}

// Error implements error.
func (e *nestedTypeError) Error() string { return "json: cannot unmarshal " + e.value }

// decodeNested reads a part of a service definition. Only a strict one refuses
// fields that v has not.
func (k *bodyKind) decodeNested(part string, data []byte, v any, strict bool) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	err := dec.Decode(v)
	var wrong *json.UnmarshalTypeError
	if err == nil {
		return durationError(v)
	}
	if !errors.As(err, &wrong) {
		return err
	}
	e := &nestedTypeError{kind: k, part: part, value: wrong.Value}
	if wrong.Field != "" {
		e.field, e.typ = k.field(wrong)
		e.field = k.path(e.field)
	}
	return e
}

// text puts the error in the agent's words. Agents of 1.8.7 do not tell where in
// the part it is.
func (e *nestedTypeError) text(ver release.Version, k *bodyKind, data []byte) error {
	where, typ := e.part, e.typ
	if e.kind == nestedCheckBody && e.part == "Check" && !wrongCheck(data) {
		where = "Checks"
	}
	if ver == release.V1_21_4 {
		where = k.path(where)
		if e.field != "" {
			where += "." + e.field
		}
	}
	if e.field == "" {
		typ = e.kind.goType[ver]
	}
	name := k.name
	if k == CatalogRegisterBody {
		name, where = "NodeService", "Service."+where
	}
	return errors.New("json: cannot unmarshal " + e.value + " into Go struct field " + name + "." + where + " of type " + typ)
}

// wrongCheck reports whether the Check of a service definition has a wrong type,
// rather than one of its Checks.
func wrongCheck(data []byte) bool {
	var d struct{ Check json.RawMessage }
	return json.NewDecoder(bytes.NewReader(data)).Decode(&d) == nil && len(d.Check) > 0 && json.Unmarshal(d.Check, new(ServiceCheck)) != nil
}

// newMark is at the end of the name of a field that 1.8.7 does not know. It stands
// there as strconv.Quote writes it.
const newMark = `\x00`

// unmark returns an error about a body that markNew has made, as it is about the body
// that was sent.
func unmark(err error) error {
	if err == nil || !strings.Contains(err.Error(), newMark) {
		return err
	}
	return errors.New(strings.Replace(err.Error(), newMark+`"`, `"`, 1))
}

// markNew returns a body in which the fields that 1.8.7 does not know have names that
// are unknown here, too: so the decoder finds them in its own order. The names of
// fields do not depend on case.
func (k *bodyKind) markNew(data []byte) []byte {
	if len(k.unknown) == 0 {
		return data
	}
	var marked []byte
	done := int64(0)
	walk(data, func(path string, end int64) {
		if containsFold(k.unknown, path) {
			marked = append(append(marked, data[done:end-1]...), `\u0000`...)
			done = end - 1
		}
	}, func(string) {})
	return append(marked, data[done:]...)
}

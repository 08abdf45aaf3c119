package consul

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// This file reads the names of definition files, such as enable_tag_override and
// deregister_critical_service_after, which agents accept in requests as well. What
// encoding/json does not find is lost in silence, and a service that is lost with
// its last check in place of being deregistered is a bad surprise.

// fieldsOf returns the names of a struct's fields by what is left of them without
// underscores and case.
func fieldsOf(v any) map[string]string {
	names := map[string]string{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		names[strings.ToLower(f.Name)] = f.Name
	}
	return names
}

// The fields of what a definition file holds.
var (
	registrationNames = sync.OnceValue(func() map[string]string { return fieldsOf(AgentServiceRegistration{}) })
	connectNames      = sync.OnceValue(func() map[string]string { return fieldsOf(AgentServiceConnect{}) })

	serviceCheckNames = sync.OnceValue(func() map[string]string {
		names := fieldsOf(AgentServiceCheck{})
		names["id"], names["scriptargs"] = "CheckID", "Args"
		return names
	})

	checkRegistrationNames = sync.OnceValue(func() map[string]string {
		names := fieldsOf(AgentCheckRegistration{})
		names["scriptargs"] = "Args"
		return names
	})
)

// withFieldNames returns a JSON object whose members are called as the fields
// are. A name that is none of theirs is kept, and so is what is no object.
func withFieldNames(data []byte, fields map[string]string) []byte {
	if !json.Valid(data) {
		return data // encoding/json tells what is wrong
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if start, _ := d.Token(); start != json.Delim('{') {
		return data
	}
	var b bytes.Buffer
	for separator := byte('{'); d.More(); separator = ',' {
		token, _ := d.Token()
		name, isName := token.(string)
		var value json.RawMessage
		if d.Decode(&value) != nil || !isName {
			return data // which valid JSON does not come to
		}
		if field := fields[strings.ToLower(strings.ReplaceAll(name, "_", ""))]; field != "" {
			name = field
		}
		quoted, _ := json.Marshal(name) // which cannot fail
		b.WriteByte(separator)
		b.Write(quoted)
		b.WriteByte(':')
		b.Write(value)
	}
	if b.Len() == 0 {
		return data
	}
	b.WriteByte('}')
	return b.Bytes()
}

type registrationFields AgentServiceRegistration

// UnmarshalJSON implements [json.Unmarshaler]. It also reads the names that
// definition files have, such as enable_tag_override.
func (r *AgentServiceRegistration) UnmarshalJSON(data []byte) error {
	w := struct {
		*registrationFields
		Connect *definitionConnect
	}{registrationFields: (*registrationFields)(r), Connect: (*definitionConnect)(r.Connect)}
	if err := json.Unmarshal(withFieldNames(data, registrationNames()), &w); err != nil {
		return err
	}
	r.Connect = (*AgentServiceConnect)(w.Connect)
	return nil
}

// definitionConnect is an AgentServiceConnect in a definition.
type definitionConnect AgentServiceConnect

func (c *definitionConnect) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(withFieldNames(data, connectNames()), (*AgentServiceConnect)(c))
}

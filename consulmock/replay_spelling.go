package consulmock

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// This file gives requests that agents understand alike one spelling, so that the
// recording of a program can be replayed to the same program with another client.

// spellQuery gives parameters their one spelling.
func spellQuery(query url.Values) {
	if values, ok := query["sg"]; ok && !query.Has("sameness-group") {
		delete(query, "sg")
		query["sameness-group"] = values
	}
	for name, values := range query {
		if len(values) != 1 {
			continue
		}
		if plain, counts := spellParameter(name, values[0]); counts {
			query[name] = []string{plain}
		} else {
			delete(query, name)
		}
	}
}

// spellParameter returns the value that is compared, and false if an agent takes
// the value for no parameter at all.
func spellParameter(name, value string) (plain string, counts bool) {
	switch name {
	case "stale", "consistent", "cached", "merge-central-config", "recurse", "keys", "raw":
		return "", true
	case "separator", "note", "reason", "segment", "dc", "near", "filter", "hash", "peer", "sameness-group", "loglevel":
		return value, value != ""
	case "index":
		return value, value != "" && value != "0"
	case "flags":
		return value, value != "0"
	case "wan":
		return "1", value != ""
	case "format":
		return value, value != "" && value != "json"
	case "replace-existing-checks":
		return "true", value == "true" || value == ""
	case "wait":
		if d, err := time.ParseDuration(value); err == nil {
			return d.String(), d != 0
		}
		return value, value != ""
	case "passing":
		if on, err := strconv.ParseBool(value); err == nil || value == "" {
			return "1", on || value == ""
		}
	}
	return value, true
}

// spellBody gives the body of a registration, a session or a transaction its one
// spelling: without members that are as they are when they are missing, and with
// durations in one form. Other bodies are compared as they are.
func spellBody(path, body string) string {
	spell, ok := bodySpellings[path]
	if !ok {
		return body
	}
	var value any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if d.Decode(&value) != nil {
		return body
	}
	spell(value)
	plain, err := json.Marshal(value)
	if err != nil {
		return body
	}
	return string(plain)
}

// bodySpellings are by the path of the request.
var bodySpellings = map[string]func(body any){
	"/v1/agent/service/register": spellRegistration,
	"/v1/agent/check/register":   spellRegistration,
	"/v1/catalog/register":       spellRegistration,
	"/v1/catalog/deregister":     spellRegistration,
	"/v1/session/create":         spellSession,
	"/v1/txn":                    spellTransaction,
}

func spellRegistration(body any) {
	object, _ := body.(map[string]any)
	spellMembers(object)
	if service, ok := object["Service"].(map[string]any); ok {
		if weights, ok := service["Weights"].(map[string]any); ok && len(weights) == 0 {
			delete(service, "Weights") // the catalog takes weights of 0 for none
		}
	}
}

// spellSession leaves empty members: an empty list of checks is not the same as
// none, and neither is a LockDelay of 0.
func spellSession(body any) {
	object, _ := body.(map[string]any)
	for _, name := range []string{"TTL", "LockDelay"} {
		if text, ok := object[name].(string); ok {
			object[name] = spellDuration(text)
		}
	}
}

func spellTransaction(body any) {
	operations, _ := body.([]any)
	for _, operation := range operations {
		object, _ := operation.(map[string]any)
		spellMembers(object)
	}
}

func spellMembers(object map[string]any) {
	for name, value := range object {
		switch name {
		case "Meta", "NodeMeta", "TaggedAddresses", "Header", "Proxy", "Connect":
			// Their members are not the agent's, or do not mean nothing when empty.
			if value == nil {
				delete(object, name)
			}
			continue
		case "TTL", "Interval", "Timeout", "DeregisterCriticalServiceAfter":
			value = spellDuration(value)
			object[name] = value
		case "H2PingUseTLS":
			continue // its absence means true
		}
		switch v := value.(type) {
		case map[string]any:
			spellMembers(v)
		case []any:
			for _, element := range v {
				if o, ok := element.(map[string]any); ok {
					spellMembers(o)
				}
			}
			if len(v) == 0 {
				delete(object, name)
			}
		case nil:
			delete(object, name)
		case string, bool, json.Number:
			if v == "" || v == false || v == json.Number("0") {
				delete(object, name)
			}
		}
	}
}

// spellDuration returns a duration as a string, or 0 for none.
func spellDuration(value any) any {
	var d time.Duration
	switch v := value.(type) {
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return value
		}
		d = time.Duration(n)
	case string:
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			return value
		}
	default:
		return value
	}
	if d == 0 {
		return json.Number("0")
	}
	return d.String()
}

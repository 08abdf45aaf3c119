package scenario

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// loose are the places in answers whose value says nothing about the behaviour
// of an agent: only their kind is compared. A path is one of the body or the
// beginning of one.
var loose = []struct{ endpoint, path, reason string }{
	{"/v1/agent/self", "DebugConfig", "the whole configuration, ports and paths included"},
	{"/v1/agent/self", "Stats", "counters of the process"},
	{"/v1/agent/self", "Coord", "moves with the measured round trips"},
	{"/v1/agent/self", "Config.BuildDate", "says who built the program"},
	{"/v1/agent/self", "Config.Revision", "says who built the program"},
	{"/v1/agent/self", "Member.Tags.build", "says who built the program"},
	{"/v1/agent/members", "[].Tags.build", "says who built the program"},
	{"/v1/agent/version", "BuildDate", "says who built the program"},
	{"/v1/agent/version", "SHA", "says who built the program"},
	{"/v1/agent/host", "Memory", "describes the machine"},
	{"/v1/agent/host", "CPU", "describes the machine"},
	{"/v1/agent/host", "Host", "describes the machine"},
	{"/v1/agent/host", "Disk", "describes the machine"},
	{"/v1/agent/host", "CollectionTime", "the time of the answer"},
	{"/v1/agent/metrics", "Timestamp", "the time of the answer"},
	{"/v1/agent/metrics", "Gauges", "measurements"},
	{"/v1/agent/metrics", "Counters", "measurements"},
	{"/v1/agent/metrics", "Samples", "measurements"},
	{"/v1/agent/metrics", "Points", "measurements"},
	{"/v1/acl/", "CreateTime", "the time of the request"},
	{"/v1/acl/", "Hash", "made of random IDs"},
	{"/v1/agent/connect/ca/", "", "random keys, and times"},
}

func isLoose(endpoint, path string) bool {
	for _, l := range loose {
		if strings.HasPrefix(endpoint, l.endpoint) && l.path == path {
			return true
		}
	}
	return false
}

// unordered are the lists that agents give in an order that changes from answer
// to answer. A star stands for the name of any field.
var unordered = []struct{ endpoint, path string }{
	{"/v1/agent/members", ""},
	{"/v1/status/peers", ""},
	{"/v1/catalog/services", "*"},
	{"/v1/agent/health/service/", ""},
	{"/v1/agent/health/service/", "Checks"},
	{"/v1/agent/health/service/", "[].Checks"},
	{"/v1/session/list", ""}, // by their random IDs
	{"/v1/session/node/", ""},
}

func isUnordered(endpoint, path string) bool {
	for _, u := range unordered {
		if strings.HasPrefix(endpoint, u.endpoint) && (u.path == path || u.path == "*" && path != "" && !strings.ContainsAny(path, "[]")) {
			return true
		}
	}
	return false
}

// normal sorts the lists in a body that have no order.
func normal(endpoint, path string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			v[name] = normal(endpoint, strings.TrimPrefix(path+"."+name, "."), e)
		}
	case []any:
		for i, e := range v {
			v[i] = normal(endpoint, path+"[]", e)
		}
		if isUnordered(endpoint, path) {
			slices.SortStableFunc(v, inOrder)
		}
	}
	return v
}

// inOrder compares two elements of a list: by when they were created, or else by
// their text without the names that agents make up.
func inOrder(a, b any) int {
	if n := cmp.Compare(created(a), created(b)); n != 0 {
		return n
	}
	return strings.Compare(volatile.ReplaceAllString(encode(a), ""), volatile.ReplaceAllString(encode(b), ""))
}

func created(v any) uint64 {
	object, _ := v.(map[string]any)
	n, _ := object["CreateIndex"].(json.Number)
	index, _ := strconv.ParseUint(n.String(), 10, 64) // 0 if there is none
	return index
}

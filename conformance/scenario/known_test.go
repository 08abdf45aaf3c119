package scenario

import "slices"

// knownDifference is a way in which a target is known to differ from a
// recording.
type knownDifference struct {
	target   string // fake, replay or agent
	version  string // empty means all
	scenario string
	entries  string // IDs with blanks between them; empty means any
	field    string // as in the messages of a failure; one star stands for anything
	reason   string

	bychance bool // may also be absent
}

// known is all of them.
var known = slices.Concat(knownOfAgents, knownOfReplay, knownOfFake)

// knownOfAgents is where real agents of the same version differ from one run to
// the next.
var knownOfAgents = []knownDifference{
	{target: "agent", scenario: "acl-service-not-synced", entries: "e015", field: "body *", bychance: true,
		reason: "which of a service and its check reaches the catalog first"},
	{target: "agent", scenario: "catalog-write", entries: "e064", bychance: true, field: "*",
		reason: "the leader puts its own node back into the catalog within a minute"},
	{target: "agent", scenario: "check-alias-first", entries: "e003 e005 e006", bychance: true, field: "*",
		reason: "how soon after its registration an alias has its first result, and how soon the catalog has that"},
	{target: "agent", scenario: "check-alias-first", entries: "e016", bychance: true, field: "body follows*",
		reason: "whether an alias still sees the service that goes"},
	{target: "agent", scenario: "check-alias-refresh", bychance: true, field: "body of-u*",
		reason: "whether an alias still sees the service that goes"},
	{target: "agent", scenario: "check-critical-deregister", entries: "e034", bychance: true, field: "body *",
		reason: "the agent looks for critical services every 30 s, counted from its start"},
	{target: "agent", scenario: "check-critical-deregister", entries: "e007", bychance: true, field: "body *",
		reason: "whether the agent or the leader was the first to register the node"},
	{target: "agent", scenario: "check-kinds", entries: "e034 e035", bychance: true, field: "body service:*.Output",
		reason: "when each check runs first, and which of several failing checks an alias names"},
	{target: "agent", scenario: "check-kinds", entries: "e034 e035", bychance: true, field: "body service:*.Status",
		reason: "when each check runs first"},
	{target: "agent", scenario: "check-kinds", entries: "e039 e046", bychance: true, field: "body [].Output",
		reason: "when each check runs first"},
	{target: "agent", scenario: "check-kinds", entries: "e039 e046", bychance: true, field: "body [].Status",
		reason: "when each check runs first"},
	{target: "agent", scenario: "check-kinds", entries: "e039 e040 e041 e042 e044 e046", bychance: true, field: "body [].*Index",
		reason: "in which order the checks reach the catalog"},
	{target: "agent", scenario: "check-kinds", bychance: true, field: "X-Consul-Index",
		reason: "when each check runs first"},
	{target: "agent", version: "1.8.7", scenario: "check-ttl-expiry", entries: "e003", bychance: true, field: "timing",
		reason: "how soon the expiry is in the catalog: once it took 0.3 s"},
	{target: "agent", scenario: "consistency", entries: "e027 e032", bychance: true, field: "*",
		reason: "how soon the cache has what changed"},
	{target: "agent", version: "1.8.7", scenario: "check-alias-missing-node", entries: "e002", bychance: true, field: "error",
		reason: "whether the agent answers before it ends"},
	{target: "agent", scenario: "check-register-errors", entries: "e046", bychance: true, field: "body *",
		reason: "when a check runs first"},
	{target: "agent", version: "1.21.4", scenario: "filter-language", bychance: true, field: "body px*",
		reason: "whether the agent knows yet which virtual address the leader has given to the proxy"},
	{target: "agent", version: "1.21.4", scenario: "rate-limit", entries: "e004 e005 e006 e007 e008", bychance: true, field: "status",
		reason: "how much of the limit the start has used up"},
	{target: "agent", scenario: "restart-dev", entries: "e011 e013 e017", bychance: true, field: "body *",
		reason: "how soon after the start there is a leader"},
	{target: "agent", scenario: "restart-dev", bychance: true, field: "header Connection",
		reason: "whether the answer is sent before or after the agent begins to end"},
	{target: "agent", scenario: "restart-datadir", entries: "e015", bychance: true, field: "body service:h.*",
		reason: "when a check runs first"},
	{target: "agent", scenario: "restart-datadir", entries: "e026 e037 e038", bychance: true, field: "X-Consul-Index",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e026 e037 e038", bychance: true, field: "body [].Checks[].*",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e038 e039 e040 e041", bychance: true, field: "body service:*.Output",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e038 e039 e040 e041", bychance: true, field: "body service:*.Status",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e041 e042", bychance: true, field: "body [].Output",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e041 e042", bychance: true, field: "body [].Status",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "restart-datadir", entries: "e041 e042", bychance: true, field: "body [].ModifyIndex",
		reason: "how soon the leader has the checks again, and what expires until then"},
	{target: "agent", scenario: "service-connect", bychance: true, field: "body *Index",
		reason: "in which order services reach the catalog"},
	{target: "agent", scenario: "service-connect", entries: "e008 e009 e010 e011 e013 e014 e015 e017 e018", bychance: true, field: "X-Consul-Index",
		reason: "in which order services reach the catalog"},
	{target: "agent", version: "1.21.4", scenario: "service-connect", entries: "e009", bychance: true, field: "body [].Checks[].*",
		reason: "how soon after its registration an alias has its first result"},
	{target: "agent", version: "1.21.4", scenario: "service-connect", entries: "e010", bychance: true, field: "body *",
		reason: "how soon after its registration an alias has its first result"},
	{target: "agent", version: "1.21.4", scenario: "service-connect", entries: "e026", bychance: true, field: "body *.TaggedAddresses",
		reason: "whether the agent knows yet which virtual addresses the leader has given"},
	{target: "agent", scenario: "session-ttl-min", bychance: true, field: "X-Consul-Index",
		reason: "in which order sessions end that end within moments"},
	{target: "agent", scenario: "service-replace-checks", entries: "e019", bychance: true, field: "body *",
		reason: "which of several checks reaches the catalog first"},
	{target: "agent", scenario: "session-ttl", entries: "e013 e014 e015 e022 e026 e027 e029 e030", bychance: true, field: "*Index",
		reason: "which of two sessions ends first whose TTLs are over within the same milliseconds"},
}

var knownOfReplay = []knownDifference{
	{target: "replay", version: "1.21.4", scenario: "conn-limit", entries: "e001 e002 e003 e006 e007 e008", field: "header Connection",
		reason: "a replay does not refuse connections, only requests, and leaves them open"},
	{target: "replay", scenario: "hostile", entries: "e243", field: "header Content-Encoding", reason: plain},
	{target: "replay", version: "1.21.4", scenario: "kv-basic", entries: "e107 e108", field: "header Content-Encoding", reason: plain},
	{target: "replay", version: "1.8.7", scenario: "kv-basic", entries: "e102 e103 e107 e108", field: "header Content-Encoding", reason: plain},
	{target: "replay", scenario: "kv-limits", entries: "e003", field: "header Connection", reason: open},
	{target: "replay", scenario: "kv-limits-set", entries: "e015", field: "header Connection", reason: open},
	{target: "replay", scenario: "response-format", field: "header Content-Encoding", reason: plain},
	{target: "replay", version: "1.8.7", scenario: "txn-errors", entries: "e063", field: "header Content-Encoding", reason: plain},
	{target: "replay", scenario: "txn-limits", entries: "e012", field: "header Connection", reason: open},
}

const (
	plain = "a replay does not compress"
	open  = "a replay reads every request to its end, and leaves the connection open"
)

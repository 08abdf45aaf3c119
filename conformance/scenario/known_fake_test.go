package scenario

const (
	noMesh  = "the fake has no certificate authority of a service mesh"
	noProbe = "the fake does not probe gRPC and HTTP/2"
	alias   = "how soon after its registration an alias has its first result is a matter of moments"
	chance  = "when each check runs first is a matter of chance, and in which order they reach the catalog"
	forgets = "an agent that restarts has forgotten the output of a check that had expired before"
	ends    = "these sessions ended within two milliseconds; which of them first is a matter of moments"
	killed  = "the fake ends as by a kill; an agent that is terminated answers those who wait"
)

// knownOfFake is where the fake is not like an agent.
var knownOfFake = []knownDifference{
	{target: "fake", scenario: "agent-info", entries: "e027 e028 e032", field: "status", reason: noMesh},

	{target: "fake", scenario: "check-kinds", entries: "e035", field: "body service:grpc*", reason: noProbe},
	{target: "fake", version: "1.21.4", scenario: "check-kinds", entries: "e035", field: "body service:h2*", reason: noProbe},
	{target: "fake", version: "1.21.4", scenario: "check-kinds", entries: "e041 e044 e046", field: "body [].Output", reason: noProbe},
	{target: "fake", version: "1.21.4", scenario: "check-kinds", entries: "e041 e044 e046", field: "body [].Status", reason: noProbe},
	{target: "fake", version: "1.8.7", scenario: "check-kinds", entries: "e041 e046", field: "body [].Output", reason: noProbe},
	{target: "fake", version: "1.8.7", scenario: "check-kinds", entries: "e041 e046", field: "body [].Status", reason: noProbe},
	{target: "fake", scenario: "check-kinds", entries: "e039 e040 e041 e042 e044 e046", field: "body [].ModifyIndex", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", entries: "e046", field: "body [].CreateIndex", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", entries: "e034 e035", field: "body service:http*", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", entries: "e034 e035", field: "body service:alias*", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", entries: "e034 e035", field: "body service:tcp*", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", entries: "e034 e035", field: "body service:udp*", reason: chance, bychance: true},
	{target: "fake", scenario: "check-kinds", field: "X-Consul-Index", reason: chance, bychance: true},

	{target: "fake", version: "1.21.4", scenario: "check-alias-first", entries: "e003", field: "body follows*", reason: alias, bychance: true},
	{target: "fake", version: "1.8.7", scenario: "check-alias-first", entries: "e005", field: "body *",
		reason: "in this recording the first result took 0.5 s to reach the catalog; the fake passes it on at once, as agents usually do"},
	{target: "fake", version: "1.8.7", scenario: "check-alias-first", entries: "e006", field: "*",
		reason: "and so this wait is ended by it, instead of by the next change"},
	{target: "fake", version: "1.8.7", scenario: "check-alias-first", entries: "e016", field: "body follows*",
		reason: "whether an alias of 1.8.7 still sees the service that goes is a matter of chance; real agents have done both"},

	{target: "fake", version: "1.8.7", scenario: "check-ttl-expiry", entries: "e003", field: "timing",
		reason: "in this recording the expiry took 0.3 s to reach the catalog; the fake passes it on at once, as agents usually do"},
	{target: "fake", scenario: "conn-limit", entries: "e009 e010", field: "body *",
		reason: "two agents that know nothing of each other have different addresses; all fakes say 127.0.0.1:8300"},
	{target: "fake", version: "1.21.4", scenario: "consistency", entries: "e032", field: "header Age",
		reason: "whether the cache has the entry then is a matter of chance; real agents have done both"},
	{target: "fake", version: "1.21.4", scenario: "consistency", entries: "e032", field: "header X-Cache",
		reason: "whether the cache has the entry then is a matter of chance; real agents have done both"},
	{target: "fake", scenario: "hostile", entries: "e214", field: "*",
		reason: "agents end a name in their tables with a NUL, so that a service named with one is found by what stands before it"},
	{target: "fake", scenario: "methods-paths", entries: "e214", field: "status", reason: "the page of the fake is not Consul's"},

	{target: "fake", version: "1.21.4", scenario: "restart-dev", entries: "e017", field: "body *", reason: "the fake has a leader from the start"},
	{target: "fake", version: "1.8.7", scenario: "restart-dev", entries: "e011 e013", field: "body *", reason: "the fake has a leader from the start"},
	{target: "fake", version: "1.21.4", scenario: "restart-dev", entries: "e035 e036 e038", field: "error", reason: killed},
	{target: "fake", version: "1.8.7", scenario: "restart-dev", entries: "e031 e032 e034", field: "error", reason: killed},
	{target: "fake", version: "1.21.4", scenario: "restart-datadir", entries: "e041", field: "body service:short.Output", reason: forgets},
	{target: "fake", version: "1.8.7", scenario: "restart-datadir", entries: "e040", field: "body service:short.Output", reason: forgets},
	{target: "fake", version: "1.21.4", scenario: "restart-datadir", entries: "e042", field: "body [].Output",
		reason: "the catalog keeps the output from before the restart until the next full sync"},
	{target: "fake", version: "1.8.7", scenario: "session-ttl", entries: "e013 e014 e022 e026 e027 e029 e030", field: "X-Consul-Index", reason: ends},
	{target: "fake", version: "1.8.7", scenario: "session-ttl", entries: "e014 e026", field: "body [].ModifyIndex", reason: ends},
	{target: "fake", version: "1.21.4", scenario: "session-ttl-min", entries: "e008", field: "X-Consul-Index", reason: ends},
	{target: "fake", version: "1.8.7", scenario: "restart-datadir", entries: "e041", field: "body [].ModifyIndex",
		reason: "in which order checks reach the catalog after a restart is a matter of chance"},
}

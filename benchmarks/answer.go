// Package benchmarks compares the client with others on the same work.
package benchmarks

import (
	"encoding/json"
	"fmt"
)

// Instances returns what an agent of version 1.21.4 answers for the service web
// on /v1/health/service when it has n instances, each on a node of its own: about
// 1,400 bytes each, compact as from all agents but those in development mode.
func Instances(n int) []byte {
	entries := make([]json.RawMessage, n)
	for i := range entries {
		entries[i] = fmt.Appendf(nil, instance, i, i/250%250, i%250, 20+3*i)
	}
	data, err := json.Marshal(entries)
	if err != nil {
		panic(err)
	}
	return data
}

// ServiceMap returns what an agent answers on /v1/catalog/services when there are
// n services, its own and others of two tags each.
func ServiceMap(n int) []byte {
	all := map[string][]string{"consul": {}}
	for i := 1; i < n; i++ {
		all[fmt.Sprintf("service-%05d", i)] = []string{"primary", fmt.Sprint("v1.", i%10)}
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return data
}

// instance is one entry as recorded, with the parts filled in that a service with
// an address, tags and metadata has. %[1]d is its number, %[2]d and %[3]d are part of its
// address, %[4]d is its index.
const instance = `{"Node":{"ID":"39dda851-bc2e-dccc-a3f6-%012[1]d","Node":"node%[1]d","Address":"10.0.%[2]d.%[3]d","Datacenter":"dc1",` +
	`"TaggedAddresses":{"lan":"10.0.%[2]d.%[3]d","lan_ipv4":"10.0.%[2]d.%[3]d","wan":"10.0.%[2]d.%[3]d","wan_ipv4":"10.0.%[2]d.%[3]d"},` +
	`"Meta":{"consul-network-segment":"","consul-version":"1.21.4"},"CreateIndex":%[4]d,"ModifyIndex":%[4]d},` +
	`"Service":{"ID":"web-%[1]d","Service":"web","Tags":["primary","v1.2.3","zone-%[3]d"],"Address":"10.0.%[2]d.%[3]d",` +
	`"TaggedAddresses":{"lan_ipv4":{"Address":"10.0.%[2]d.%[3]d","Port":8080},"wan_ipv4":{"Address":"10.0.%[2]d.%[3]d","Port":8080}},` +
	`"Meta":{"version":"1.2.3","zone":"zone-%[3]d"},"Port":8080,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` +
	`"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":%[4]d,"ModifyIndex":%[4]d},` +
	`"Checks":[{"Node":"node%[1]d","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"",` +
	`"Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"",` +
	`"ExposedPort":0,"Definition":{},"CreateIndex":%[4]d,"ModifyIndex":%[4]d},` +
	`{"Node":"node%[1]d","CheckID":"service:web-%[1]d","Name":"Service 'web' check","Status":"passing","Notes":"",` +
	`"Output":"HTTP GET http://10.0.%[2]d.%[3]d:8080/health: 200 OK Output: ok\n","ServiceID":"web-%[1]d","ServiceName":"web",` +
	`"ServiceTags":["primary","v1.2.3","zone-%[3]d"],"Type":"http","Interval":"10s","Timeout":"1s",` +
	`"ExposedPort":0,"Definition":{},"CreateIndex":%[4]d,"ModifyIndex":%[4]d}]}`

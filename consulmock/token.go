package consulmock

import (
	"fmt"

	"github.com/lictor-go/consul/consulmock/internal/acl"
)

// Token is a token that the server accepts. Rules are in Consul's rule language, HCL
// or JSON, as in service_prefix "web" { policy = "write" }; empty rules allow
// nothing. Unlike agents, the server refuses words that it does not know. Rules for
// queries are accepted, though the server has none.
type Token struct {
	SecretID   string // what requests carry
	AccessorID string // what refusals name; derived from SecretID if empty
	Rules      string // what the token allows
}

// ManagementToken returns a token that allows everything.
func ManagementToken(secret string) Token {
	return Token{SecretID: secret, Rules: acl.ManagementRules}
}

// ReadToken returns a token that allows to read every service and node.
func ReadToken(secret string) Token {
	return Token{SecretID: secret, Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`}
}

// ServiceToken returns a token that allows to register the services whose name
// begins with prefix, and to read every service and node.
func ServiceToken(secret, prefix string) Token {
	return Token{SecretID: secret, Rules: fmt.Sprintf(
		`service_prefix %q { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`, prefix)}
}

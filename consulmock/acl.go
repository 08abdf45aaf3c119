package consulmock

// Token is a token that the server accepts.
type Token struct {
	SecretID   string // what requests carry
	AccessorID string // what refusals name
	Rules      string // in Consul's rule language, for example service_prefix "" { policy = "read" }
}

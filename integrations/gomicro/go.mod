module github.com/lictor-go/consul/integrations/gomicro

go 1.23

require (
	github.com/lictor-go/consul v0.1.0
	go-micro.dev/v4 v4.11.0
)

require (
	github.com/google/uuid v1.3.0 // indirect
	github.com/miekg/dns v1.1.43 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/net v0.23.0 // indirect
	golang.org/x/sync v0.1.0 // indirect
	golang.org/x/sys v0.18.0 // indirect
)

replace github.com/lictor-go/consul => ../../

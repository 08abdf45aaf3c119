module github.com/lictor-go/consul/integrations/grpcresolver

go 1.24.0

require (
	github.com/lictor-go/consul v0.0.0
	google.golang.org/grpc v1.77.0
)

require (
	golang.org/x/sys v0.37.0 // indirect
	google.golang.org/protobuf v1.36.10 // indirect
)

replace github.com/lictor-go/consul => ../../

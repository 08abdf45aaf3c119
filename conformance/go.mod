module github.com/lictor-go/consul/conformance

go 1.23

require github.com/lictor-go/consul v0.2.0

require github.com/hashicorp/go-bexpr v0.1.2

replace github.com/lictor-go/consul => ../

module github.com/lictor-go/consul/integrations/kratos/kratosv2

go 1.23

require (
	github.com/go-kratos/kratos/v2 v2.9.2
	github.com/lictor-go/consul v0.0.0
	github.com/lictor-go/consul/integrations/kratos v0.0.0
)

replace (
	github.com/lictor-go/consul => ../../../
	github.com/lictor-go/consul/integrations/kratos => ../
)

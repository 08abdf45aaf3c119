module github.com/lictor-go/consul/integrations/kratos/kratosv3

go 1.25.0

require (
	github.com/go-kratos/kratos/v3 v3.0.0
	github.com/lictor-go/consul v0.0.0
	github.com/lictor-go/consul/integrations/kratos v0.0.0
)

replace (
	github.com/lictor-go/consul => ../../../
	github.com/lictor-go/consul/integrations/kratos => ../
)

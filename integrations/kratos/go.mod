module github.com/lictor-go/consul/integrations/kratos

go 1.23

require github.com/lictor-go/consul v0.2.0

replace github.com/lictor-go/consul => ../../

module github.com/lictor-go/consul

go 1.23

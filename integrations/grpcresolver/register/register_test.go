package register_test

import (
	"testing"

	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul/integrations/grpcresolver"
	_ "github.com/lictor-go/consul/integrations/grpcresolver/register"
)

func TestRegister(t *testing.T) {
	if b, ok := resolver.Get("consul").(*grpcresolver.Builder); !ok {
		t.Errorf("consul:// is resolved by %T", b)
	}
}

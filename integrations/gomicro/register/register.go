// Package register makes this registry known to go-micro's command line, so that
// the flag --registry=consul and the variable MICRO_REGISTRY=consul choose it.
// Import it for its side effect:
//
//	import _ "github.com/lictor-go/consul/integrations/gomicro/register"
//
// The flags and variables are read by Init of [go-micro.dev/v4.Service]. Without
// this package, or another one that does the same, go-micro says "Registry consul
// not found". A program that names the registry in code, by micro.Registry, does
// not need it.
package register

import (
	"go-micro.dev/v4/util/cmd"

	"github.com/lictor-go/consul/integrations/gomicro"
)

func init() { cmd.DefaultRegistries["consul"] = gomicro.NewRegistry }

// Helloworld is a kratos service with HTTP and gRPC, and a client that finds it as
// discovery:///helloworld.
//
//	go run ./examples/helloworld server -id one
//	go run ./examples/helloworld client -calls 3
//
// Both use the agent at CONSUL_HTTP_ADDR, and the other variables of Consul's own
// tools. Without CONSUL_HTTP_ADDR that is http://127.0.0.1:8500.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"time"

	frame "github.com/go-kratos/kratos/v3"
	"github.com/go-kratos/kratos/v3/transport/grpc"
	"github.com/go-kratos/kratos/v3/transport/http"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos"
	"github.com/lictor-go/consul/integrations/kratos/kratosv3"
)

const service = "helloworld"

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "helloworld:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := consul.ConfigFromEnv() // CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, ...; without them, 127.0.0.1:8500
	if err != nil {
		return err
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	registry := kratosv3.New(client, &kratos.Options{Interval: 5 * time.Second}) // nil means defaults
	defer registry.Close()
	flags := flag.NewFlagSet(service, flag.ContinueOnError)
	id := flags.String("id", "one", "server: the ID of the instance")
	calls := flags.Int("calls", 3, "client: how many calls of each kind")
	if len(args) == 0 {
		return errors.New("want server or client")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "server":
		return serve(ctx, registry, *id, out)
	case "client":
		return call(ctx, registry, *calls, out)
	}
	return fmt.Errorf("want server or client, not %q", args[0])
}

// serve runs an instance until a signal ends it, or ctx does.
func serve(ctx context.Context, registry *kratosv3.Registry, id string, out io.Writer) error {
	web, webURL, err := listen("http")
	if err != nil {
		return err
	}
	rpc, rpcURL, err := listen("grpc")
	if err != nil {
		return err
	}
	httpServer := http.NewServer(http.Listener(web), http.Endpoint(webURL))
	httpServer.HandleFunc("/hello", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%q", greet(r.FormValue("name"), id))
	})
	grpcServer := grpc.NewServer(grpc.Listener(rpc), grpc.Endpoint(rpcURL))
	grpcServer.RegisterService(&greeter, id)
	return frame.New(
		frame.Registrar(registry),
		frame.Name(service),
		frame.Server(httpServer, grpcServer),
		frame.ID(service+"-"+id),
		frame.Version("v1.0.0"),
		frame.Context(ctx),
		frame.AfterStart(func(context.Context) error {
			fmt.Fprintf(out, "%s-%s serves %s and %s\n", service, id, webURL, rpcURL)
			return nil
		}),
	).Run()
}

// listen also returns the URL, for which kratos would otherwise choose an address of
// another interface.
func listen(scheme string) (net.Listener, *url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return l, &url.URL{Scheme: scheme, Host: l.Addr().String()}, nil
}

// call calls the service over HTTP and gRPC.
func call(ctx context.Context, registry *kratosv3.Registry, n int, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	web, err := http.NewClient(ctx, http.WithEndpoint("discovery:///helloworld"), http.WithDiscovery(registry), http.WithBlock())
	if err != nil {
		return err
	}
	defer web.Close()
	rpc, err := grpc.NewClient(ctx, grpc.WithEndpoint("discovery:///helloworld"), grpc.WithDiscovery(registry))
	if err != nil {
		return err
	}
	defer rpc.Close()
	for range n {
		var answer string
		if err := web.Invoke(ctx, "GET", "/hello?name=HTTP", nil, &answer); err != nil {
			return err
		}
		fmt.Fprintln(out, answer)
	}
	for range n {
		var answer wrapperspb.StringValue
		if err := rpc.Invoke(ctx, sayHello, wrapperspb.String("gRPC"), &answer); err != nil {
			return err
		}
		fmt.Fprintln(out, answer.GetValue())
	}
	return nil
}

func greet(name, id string) string { return fmt.Sprintf("Hello %s, this is %s", name, id) }

const sayHello = "/helloworld.Greeter/SayHello"

// greeter is what protoc would generate for a service with one method. Its
// implementation is the instance's ID.
var greeter = googlegrpc.ServiceDesc{
	ServiceName: "helloworld.Greeter",
	HandlerType: (*any)(nil),
	Methods: []googlegrpc.MethodDesc{{
		MethodName: "SayHello",
		Handler: func(id any, ctx context.Context, decode func(any) error, intercept googlegrpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			handle := func(_ context.Context, in any) (any, error) {
				return wrapperspb.String(greet(in.(*wrapperspb.StringValue).GetValue(), id.(string))), nil
			}
			if intercept == nil {
				return handle(ctx, in)
			}
			return intercept(ctx, in, &googlegrpc.UnaryServerInfo{Server: id, FullMethod: sayHello}, handle)
		},
	}},
}

package agenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// args returns the arguments of the program. It writes the files that they name.
func (a *Agent) args() ([]string, error) {
	o := a.opts
	args := []string{"agent",
		"-node=" + a.Node,
		"-bind=127.0.0.1",
		"-dns-port=-1",
		fmt.Sprintf("-grpc-port=%d", a.ports.port(portGRPC)),
		fmt.Sprintf("-server-port=%d", a.ports.port(portRPC)),
		fmt.Sprintf("-serf-lan-port=%d", a.ports.port(portSerfLAN)),
		fmt.Sprintf("-serf-wan-port=%d", a.ports.port(portSerfWAN)),
		"-hcl=disable_update_check = true",
		"-log-level=warn",
	}
	if !a.Old() { // which has no such port
		args = append(args, "-grpc-tls-port=-1")
	}
	switch o.Role {
	case Dev:
		args = append(args, "-dev")
	case Server:
		expect := max(o.Expect, 1)
		args = append(args, "-server", fmt.Sprintf("-bootstrap-expect=%d", expect), "-data-dir="+a.dataDir(),
			"-hcl=performance { raft_multiplier = 1 }")
	case Client:
		args = append(args, "-data-dir="+a.dataDir())
	}
	for _, other := range o.Join {
		args = append(args, "-retry-join="+other.SerfLAN, "-retry-interval=1s")
	}
	args = append(args, "-client=127.0.0.1", fmt.Sprintf("-http-port=%d", a.ports.port(portHTTP)))
	if a.Socket != "" {
		args = append(args, fmt.Sprintf("-hcl=addresses { http = %q }", "unix://"+a.Socket))
	}
	if a.HTTPS != "" {
		args = append(args, fmt.Sprintf("-https-port=%d", a.ports.port(portHTTPS)))
	}
	hcl, err := a.hcl()
	if err != nil {
		return nil, err
	}
	for _, h := range append(hcl, o.Config...) {
		args = append(args, "-hcl="+h)
	}
	return args, nil
}

// hcl returns the configuration that has no flags.
func (a *Agent) hcl() ([]string, error) {
	var hcl []string
	if a.opts.ACL {
		management := "initial_management"
		if a.Old() {
			management = "master"
		}
		tokens := fmt.Sprintf("%s = %q", management, ManagementToken)
		if !a.opts.NoAgentToken {
			tokens += fmt.Sprintf(" agent = %q", ManagementToken)
		}
		hcl = append(hcl, `acl { enabled = true default_policy = "deny" down_policy = "extend-cache" tokens { `+tokens+` } }`)
	}
	if t := a.opts.TLS; t != nil {
		files := map[string][]byte{"ca_file": t.Clients, "cert_file": t.Cert.CertPEM, "key_file": t.Cert.KeyPEM}
		var settings []string
		for name, data := range files {
			path := filepath.Join(a.dir, name+".pem")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				return nil, err
			}
			settings = append(settings, fmt.Sprintf("%s = %q", name, path))
		}
		if a.Old() {
			settings = append(settings, fmt.Sprintf("verify_incoming_https = %t", t.VerifyClients))
			hcl = append(hcl, settings...)
		} else {
			settings = append(settings, fmt.Sprintf("verify_incoming = %t", t.VerifyClients))
			hcl = append(hcl, "tls { https { "+strings.Join(settings, "\n")+" } }")
		}
	}
	return hcl, nil
}

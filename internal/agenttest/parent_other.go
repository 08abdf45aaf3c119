//go:build !linux

package agenttest

import "syscall"

// dieWithParent is for Linux only. Elsewhere an agent survives a test process
// that ends without cleaning up.
func dieWithParent() *syscall.SysProcAttr { return nil }

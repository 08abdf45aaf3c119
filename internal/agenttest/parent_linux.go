package agenttest

import "syscall"

// dieWithParent makes the system kill an agent whose test process has ended
// without cleaning up.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

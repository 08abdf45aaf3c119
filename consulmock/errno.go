//go:build !plan9

package consulmock

import "syscall"

// What connections in memory fail with is what those of the system do.
var (
	errReset   = syscall.ECONNRESET
	errRefused = syscall.ECONNREFUSED
	errPipe    = syscall.EPIPE
)

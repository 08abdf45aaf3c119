//go:build !plan9

package consulmock

import "syscall"

// What connections in memory fail with is what those of the system do.
var (
	errReset   error = syscall.ECONNRESET
	errRefused error = syscall.ECONNREFUSED
	errPipe    error = syscall.EPIPE
)

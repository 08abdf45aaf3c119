//go:build !plan9 && !windows

package memnet

import "syscall"

// What connections in memory fail with is what those of the system do.
var (
	ErrReset   = syscall.ECONNRESET
	ErrRefused = syscall.ECONNREFUSED
	errPipe    = syscall.EPIPE
)

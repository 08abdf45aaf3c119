package memnet

import "syscall"

// The names that package syscall has for other systems are of numbers that no
// socket of Windows fails with.
const (
	ErrReset   = syscall.WSAECONNRESET
	ErrRefused = syscall.Errno(10061) // WSAECONNREFUSED
	errPipe    = syscall.WSAECONNABORTED
)

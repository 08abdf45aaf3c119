package memnet

import "errors"

// Plan 9 has words for errors, and no numbers.
var (
	ErrReset   = errors.New("connection reset by peer")
	ErrRefused = errors.New("connection refused")
	errPipe    = errors.New("broken pipe")
)

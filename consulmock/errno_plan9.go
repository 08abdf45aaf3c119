package consulmock

import "errors"

// Plan 9 has words for errors, and no numbers.
var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
	errPipe    = errors.New("broken pipe")
)

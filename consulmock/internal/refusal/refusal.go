// Package refusal holds the errors that a client gets as they are: a status and a
// text.
package refusal

import (
	"fmt"
	"net/http"
)

// Error is a response that is not a success.
type Error struct {
	Status int
	Text   string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// New returns a response with a status and a text.
func New(status int, text string) *Error { return &Error{Status: status, Text: text} }

// BadRequest returns a response with the status 400.
func BadRequest(format string, args ...any) error {
	return New(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

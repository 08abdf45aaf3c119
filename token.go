package consul

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// reloadInterval is how old what is known of a file may be when a request begins.
// Files are read and compared, which costs some microseconds, instead of trusting
// in times and sizes, which need not differ.
const reloadInterval = time.Second

// tokenSource is where the token of a client comes from.
type tokenSource struct {
	file string // empty for a token that never changes

	mu      sync.Mutex
	token   string
	problem error     // why the file could not be read the last time
	next    time.Time // when it is to be read again
}

func newTokenSource(cfg Config) (*tokenSource, error) {
	s := &tokenSource{token: strings.TrimSpace(cfg.Token)}
	if cfg.TokenFile == "" {
		if !validToken(s.token) {
			return nil, errors.New("consul: Config.Token: " + badToken)
		}
		return s, nil
	}
	var err error
	if s.token, err = readToken(cfg.TokenFile, os.ReadFile); err != nil {
		return nil, fmt.Errorf("consul: Config.TokenFile: %w", err)
	}
	s.file, s.next = absolute(cfg.TokenFile), time.Now().Add(reloadInterval)
	return s, nil
}

// get returns the token. It reads the file again if that was not done for a while;
// what cannot be used leaves the last token in use.
func (s *tokenSource) get() string {
	if s.file == "" {
		return s.token
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); !now.Before(s.next) {
		s.next = now.Add(reloadInterval)
		token, err := readToken(s.file, readAgain)
		if err == nil {
			s.token = token
		}
		s.problem = err
	}
	return s.token
}

// refused is told what a request with the token failed with. If the token may be
// the reason, the file is read again for the next request, and the error mentions it
// if that could not be done the last time.
func (s *tokenSource) refused(err *StatusError) error {
	if s.file == "" || err.Code != http.StatusForbidden && err.Code != http.StatusUnauthorized {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = time.Time{}
	if s.problem == nil {
		return err
	}
	return fmt.Errorf("%w (Config.TokenFile cannot be read any more, so the token is an old one: %v)", err, s.problem)
}

// takeToken removes the token from a header and returns it. It must not be sent, or
// printed, where another one takes its place.
func takeToken(header http.Header) (token string) {
	for name, values := range header {
		if http.CanonicalHeaderKey(name) == "X-Consul-Token" {
			delete(header, name)
			if len(values) > 0 {
				token = strings.TrimSpace(values[0])
			}
		}
	}
	return token
}

func readToken(file string, read func(string) ([]byte, error)) (string, error) {
	data, err := read(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	switch {
	case token == "":
		return "", fmt.Errorf("%s is empty", file)
	case !validToken(token):
		return "", fmt.Errorf("%s: %s", file, badToken)
	}
	return token, nil
}

const badToken = "a token has no blanks or control characters inside"

// validToken reports whether the token can be sent in a header.
func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// readAgain reads a file that was read before. To open a pipe again would wait for
// somebody to write to it.
func readAgain(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	return os.ReadFile(file)
}

// absolute returns a path that stays the same when the working directory changes.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

package consul

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file keeps credentials out of errors, in which they are echoed by the agent, a
// proxy on the way, or the transport.

const redacted = "[redacted]"

// secrets are texts that must not be in an error, the longest first: each
// credential of a request, in every form in which it may have been quoted.
type secrets []string

// secrets returns those of a call.
func (c *Client) secrets(r *call) secrets {
	found := append([]string{c.tokenOf(r)}, r.params["token"]...)
	for name, values := range c.header {
		if holdsSecret(name) {
			for _, v := range values {
				found = append(found, headerSecrets(v)...)
			}
		}
	}
	if c.basicAuth != nil {
		password, _ := c.basicAuth.Password()
		found = append(found, password, base64.StdEncoding.EncodeToString([]byte(c.basicAuth.Username()+":"+password)))
	}
	var s secrets
	for _, secret := range found {
		for _, form := range forms(secret) {
			if form != "" && !slices.Contains(s, form) {
				s = append(s, form)
			}
		}
	}
	slices.SortFunc(s, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return s
}

// forms returns a text as it is, in JSON, in a URL, and quoted in an error, which
// may quote JSON.
func forms(s string) []string {
	asJSON, _ := json.Marshal(s) // which cannot fail
	inner := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	inJSON := inner(string(asJSON))
	return []string{s, inJSON, inner(strconv.Quote(s)), inner(strconv.Quote(inJSON)), url.PathEscape(s), url.QueryEscape(s)}
}

// holdsSecret reports whether the name of a header is that of a
// credential.
func holdsSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"token", "auth", "cookie", "secret", "key", "password", "credential", "signature"},
		func(word string) bool { return strings.Contains(name, word) })
}

// headerSecrets returns what must not be shown of the value of a header: all of
// it, and what follows a scheme such as Bearer, or the values of cookies. What is
// very short is none, and to remove it would leave nothing readable.
func headerSecrets(value string) []string {
	found := []string{strings.TrimSpace(value)}
	if _, credentials, ok := strings.Cut(found[0], " "); ok {
		found = append(found, strings.TrimSpace(credentials))
	}
	if cookies, err := http.ParseCookie(value); err == nil {
		for _, cookie := range cookies {
			found = append(found, cookie.Value)
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return len(s) < minPart })
}

// secretID finds a token in the response of an endpoint of the access control,
// quoted or not.
var secretID = regexp.MustCompile(`(?i)(SecretID\\*"\s*:\s*\\*")[^"\\]*`)

// userinfo finds a user and password in a URL, such as that of a proxy or of a
// redirect.
var userinfo = regexp.MustCompile(`://[^\s"'<>]*@`)

func redactUserinfo(text string) string { return userinfo.ReplaceAllString(text, "://"+redacted+"@") }

// minPart is from which length on a part of a secret is one, too.
const minPart = 4

// redact removes the secrets from a text, also those of which only the beginning
// is left because the text has been cut there.
func (s secrets) redact(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	if strings.Contains(text, ellipsis) {
		for _, secret := range s {
			for n := len(secret) - 1; n >= minPart; n-- {
				text = strings.ReplaceAll(text, secret[:n]+ellipsis, redacted+ellipsis)
			}
		}
	}
	return secretID.ReplaceAllString(text, "${1}"+redacted)
}

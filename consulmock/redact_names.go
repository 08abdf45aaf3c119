package consulmock

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// This file tells what is a secret: by its name, by the header that it is in, or by
// the endpoint.

// secretNames are the ends of the names of headers, parameters and members of
// JSON objects whose values are secrets: in lower case, without dashes and
// underscores.
var secretNames = []string{
	"token", "secret", "secretid", "password", "apikey", "accesskey", "secretkey", "privatekey", "privatekeypem",
	"serviceaccountjwt", "authorization", "cookie",
}

var nameSeparators = strings.NewReplacer("-", "", "_", "")

// isSecretName reports whether the value of that name is a secret.
func isSecretName(name string) bool {
	plain := strings.ToLower(nameSeparators.Replace(name))
	return slices.ContainsFunc(secretNames, func(end string) bool { return strings.HasSuffix(plain, end) })
}

// authSchemes are the words that may stand before the secret in a header
// Authorization. Any other word may be the secret.
var authSchemes = []string{"basic", "bearer", "digest", "negotiate"}

// cutScheme returns the scheme of a header Authorization, empty if there is none
// that is known, and the rest.
func cutScheme(value string) (scheme, credentials string) {
	value = strings.TrimSpace(value)
	i := strings.IndexAny(value, " \t")
	if i < 0 || !slices.Contains(authSchemes, strings.ToLower(value[:i])) {
		return "", value
	}
	return value[:i], strings.TrimSpace(value[i:])
}

// secretsOfHeader passes the secrets in a header on, if it has any. Those in
// cookies are not looked for elsewhere.
func secretsOfHeader(name, value string, learned func(secret string)) {
	plain := strings.ToLower(name)
	switch {
	case !isSecretName(name), strings.HasSuffix(plain, "cookie"):
		return
	case !strings.HasSuffix(plain, "authorization"):
		learned(value)
		return
	}
	scheme, credentials := cutScheme(value)
	learned(credentials)
	if _, rest, ok := strings.Cut(credentials, " "); ok && scheme == "" {
		learned(rest)
	}
	if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "basic") {
		_, password, _ := strings.Cut(string(pair), ":")
		learned(password)
	}
}

// redactHeader returns the value of a header that is a secret as it is recorded.
func redactHeader(name, value string) string {
	if strings.TrimSpace(value) == "" {
		return value
	}
	if scheme, _ := cutScheme(value); scheme != "" && strings.HasSuffix(strings.ToLower(name), "authorization") {
		return scheme + " " + redacted
	}
	return redacted
}

// secretsOfEndpoint returns which strings in the bodies of an endpoint are
// secrets, besides those that have the name of one.
func secretsOfEndpoint(target string) func(jsonString) bool {
	switch {
	case isEndpoint(target, "/v1/operator/keyring"):
		return func(s jsonString) bool { return isGossipKey(s.text) }
	case legacyACL.MatchString(target):
		return func(s jsonString) bool {
			return !s.isName && strings.EqualFold(s.member, "ID") && s.text != "anonymous"
		}
	}
	return func(jsonString) bool { return false }
}

// isEndpoint reports whether a URL is that of an endpoint.
func isEndpoint(target, endpoint string) bool {
	path, _, _ := strings.Cut(target, "?")
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	return strings.HasSuffix(strings.TrimSuffix(path, "/"), endpoint)
}

// legacyACL matches the endpoints of 1.8.7 for which the ID of a token is its
// secret.
var legacyACL = regexp.MustCompile(`/v1/acl/(?:create|update|info/|clone/|destroy/|list|bootstrap)`)

// isGossipKey reports whether a text is a key of the gossip pool: 16, 24 or 32
// bytes in base64.
func isGossipKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && slices.Contains([]int{16, 24, 32}, len(key))
}

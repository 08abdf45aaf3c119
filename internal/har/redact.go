package har

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lictor-go/consul/internal/httplog"
)

// This file removes secrets from recordings, and from the requests that a replay
// compares with a recording.

// Redacted stands for a secret in a recording.
const Redacted = "redacted"

// minKnownSecret is the length in bytes from which on a secret is removed
// wherever it stands. Shorter ones would be found in ordinary words.
const minKnownSecret = 8

// Redactor removes secrets. It remembers those that it has learned, because
// agents repeat them: in errors, in paths, in the output of checks. Its methods
// may be called concurrently.
type Redactor struct {
	mu       sync.Mutex
	known    map[string]bool
	forms    []string          // in which the known secrets may be written, the longest first
	replacer *strings.Replacer // of the forms
}

// learn remembers a secret. It reports whether the secret was new.
func (r *Redactor) learn(secret string) bool {
	secret = strings.TrimSpace(secret)
	if len(secret) < minKnownSecret || secret == Redacted {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[secret] {
		return false
	}
	if r.known == nil {
		r.known = map[string]bool{}
	}
	r.known[secret] = true
	r.forms = append(r.forms, writtenForms(secret)...)
	slices.SortFunc(r.forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(r.forms))
	for _, form := range r.forms {
		pairs = append(pairs, form, Redacted)
	}
	r.replacer = strings.NewReplacer(pairs...)
	return true
}

var hexEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// escapers are the ways in which programs write a string into something else.
var escapers = []func(string) string{
	url.QueryEscape,
	url.PathEscape,
	html.EscapeString,
	func(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] },
	func(s string) string { q := quoteJSON(s, true); return q[1 : len(q)-1] },
	func(s string) string { q := quoteJSON(s, false); return q[1 : len(q)-1] },
	func(s string) string { return hexEscape.ReplaceAllStringFunc(s, strings.ToLower) },
}

// writtenForms returns a secret as it is and as programs escape it, also twice,
// as in a URL in a JSON string. Most secrets have one form.
func writtenForms(secret string) []string {
	forms := []string{secret}
	for range 2 {
		for _, form := range slices.Clone(forms) {
			for _, escape := range escapers {
				if e := escape(form); !slices.Contains(forms, e) {
					forms = append(forms, e)
				}
			}
		}
	}
	return forms
}

func quoteJSON(s string, escapeHTML bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	e.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// LearnFrom learns the secrets of an exchange: of the request, and of the
// response as far as there is one.
func (r *Redactor) LearnFrom(e *Entry) (isNew bool) {
	learned := func(secret string) {
		isNew = r.learn(secret) || isNew
	}
	for _, list := range [][]Pair{e.Request.Headers, e.Answer.Headers} {
		for _, h := range list {
			secretsOfHeader(h.Name, h.Value, learned)
		}
	}
	_, query, _ := strings.Cut(e.Request.URL, "?")
	mapParameters(query, func(name, value string) (string, bool) {
		if !isSecretName(name) {
			return value, false
		}
		learned(value)
		first, _, _ := strings.Cut(value, ";") // which is all for 1.8.7
		learned(first)
		return value, false
	})
	path, _, _ := strings.Cut(e.Request.URL, "?")
	if _, token, _ := httplog.CutToken(path); token != "" {
		learned(token)
		if plain, err := url.PathUnescape(token); err == nil {
			learned(plain)
		}
	}
	special := secretsOfEndpoint(e.Request.URL)
	for _, body := range [][]byte{e.Request.Body, e.Answer.Body} {
		mapStrings(string(body), func(s jsonString) string {
			if s.isSecret() {
				secretsOfHeader(s.member, s.text, learned)
			} else if special(s) {
				learned(s.text)
			}
			return s.text
		})
	}
	return isNew
}

// Redact removes the secrets of an exchange, and those that are known.
func (r *Redactor) Redact(e *Entry) {
	r.LearnFrom(e)
	// Before the request, whose URL tells where the body may have secrets.
	e.Answer.Body = r.body(e.Request.URL, e.Answer.Body, e.Answer.Content.Partial)
	r.RedactRequest(&e.Request)
	r.headers(e.Answer.Headers)
	e.Answer.Content.MimeType = r.text(e.Answer.Content.MimeType)
	e.Answer.RedirectURL = r.text(e.Answer.RedirectURL)
	e.Failure = r.text(e.Failure) // the transport quotes what it cannot read
}

// RedactRequest removes the secrets of a request, and those that are known.
func (r *Redactor) RedactRequest(q *Request) {
	q.Body = r.body(q.URL, q.Body, false)
	q.Method = r.text(q.Method)
	q.URL = r.url(q.URL)
	r.headers(q.Headers)
	_, query, _ := strings.Cut(q.URL, "?")
	q.QueryString = Parameters(query)
	if q.PostData != nil {
		q.PostData.MimeType = r.text(q.PostData.MimeType)
	}
}

func (r *Redactor) headers(list []Pair) {
	for i, h := range list {
		list[i] = Pair{r.text(h.Name), r.text(h.Value)}
		if isSecretName(h.Name) {
			list[i].Value = redactHeader(h.Name, h.Value)
		}
	}
}

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
		return scheme + " " + Redacted
	}
	return Redacted
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

// body removes secrets from the body of a request or response to a URL. The last
// bytes of one that was cut off may be the first of a secret.
func (r *Redactor) body(target string, body []byte, isPartial bool) []byte {
	if len(body) == 0 {
		return body
	}
	if isEndpoint(target, "/v1/snapshot") {
		return []byte(Redacted) // it holds all tokens and keys, compressed
	}
	special := secretsOfEndpoint(target)
	text := mapStrings(string(body), func(s jsonString) string {
		switch {
		case s.isSecret():
			return redactHeader(s.member, s.text)
		case special(s):
			return Redacted
		}
		return r.value(s.text)
	})
	text = r.text(text)
	if isPartial {
		text = r.trimCut(text)
	}
	return []byte(text)
}

// value removes secrets from a JSON string, which may be base64 as the values of
// keys are.
func (r *Redactor) value(text string) string {
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil && len(plain) >= minKnownSecret {
		if clean := r.replaceKnown(string(plain)); clean != string(plain) {
			return base64.StdEncoding.EncodeToString([]byte(clean))
		}
	}
	return r.text(text)
}

var (
	userInfo      = regexp.MustCompile(`(://)[^/?#\s"'<>\\@]+@`)
	parameterName = regexp.MustCompile(`(?:[?&;]|\\u0026)([\w.%~-]+)=`)
	parameterEnd  = regexp.MustCompile(`[&#\s"'<>\\]|$`)
)

// text removes secrets from a text that is in no known form: those that are
// known, and those of URLs in it.
func (r *Redactor) text(text string) string {
	text = r.replaceKnown(text) // first, while they are whole
	if strings.Contains(text, "://") {
		text = userInfo.ReplaceAllString(text, "${1}"+Redacted+"@")
	}
	var b strings.Builder
	for strings.Contains(text, "=") {
		m := parameterName.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		b.WriteString(text[:m[1]])
		name := text[m[2]:m[3]]
		text = text[m[1]:]
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if end := parameterEnd.FindStringIndex(text)[0]; end > 0 && isSecretName(name) {
			b.WriteString(Redacted)
			text = text[end:]
		}
	}
	b.WriteString(text)
	return b.String()
}

// replaceKnown replaces the secrets that are known.
func (r *Redactor) replaceKnown(text string) string {
	r.mu.Lock()
	replacer := r.replacer
	r.mu.Unlock()
	if replacer == nil {
		return text
	}
	return replacer.Replace(text)
}

// trimCut replaces the beginning of a known secret at the end of a text.
func (r *Redactor) trimCut(text string) string {
	const least = 4 // fewer bytes give nothing away
	r.mu.Lock()
	defer r.mu.Unlock()
	longest := 0
	for _, form := range r.forms {
		for n := min(len(form)-1, len(text)); n >= max(least, longest+1); n-- {
			if strings.HasSuffix(text, form[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return text
	}
	return text[:len(text)-longest] + Redacted
}

// url removes secrets from a URL: from each element of its path and each
// parameter, however they are escaped.
func (r *Redactor) url(u string) string {
	u = r.replaceKnown(u) // first, while they are whole
	path, query, hasQuery := strings.Cut(userInfo.ReplaceAllString(u, "${1}"+Redacted+"@"), "?")
	elements := strings.Split(path, "/")
	for i, e := range elements {
		plain, err := url.PathUnescape(e)
		if clean := r.replaceKnown(plain); err == nil && clean != plain {
			elements[i] = url.PathEscape(clean)
		}
	}
	path = strings.Join(elements, "/")
	if before, token, after := httplog.CutToken(path); token != "" {
		path = before + Redacted + after
	}
	if hasQuery {
		path += "?" + mapParameters(query, func(name, value string) (string, bool) {
			if isSecretName(name) && value != "" {
				return Redacted, true
			}
			clean := r.text(value)
			return clean, clean != value
		})
	}
	return path
}

// mapParameters returns a query with the values for which f returns true replaced
// by what it returns. 1.8.7 separates parameters at semicolons too, so that a
// parameter may begin there; its value goes on to the next ampersand, as it does
// for others.
func mapParameters(query string, f func(name, value string) (string, bool)) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		done := 0
		for {
			end := strings.IndexByte(part[done:], '=')
			if end < 0 {
				break
			}
			end += done
			start := done + strings.LastIndexByte(part[done:end], ';') + 1
			if start == done && done > 0 {
				done = end + 1 // an equals sign in a value
				continue
			}
			name, value := part[start:end], part[end+1:]
			if plain, err := url.QueryUnescape(name); err == nil {
				name = plain
			}
			if plain, err := url.QueryUnescape(value); err == nil {
				value = plain
			}
			if mapped, changed := f(name, value); changed {
				part = part[:end+1] + url.QueryEscape(mapped)
				break
			}
			done = end + 1
		}
		parts[i] = part
	}
	return strings.Join(parts, "&")
}

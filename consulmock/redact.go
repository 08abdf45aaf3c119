package consulmock

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
)

// This file removes secrets from recordings, and from the requests that a replay
// compares with a recording.

// redacted stands for a secret in a recording.
const redacted = "redacted"

// minKnownSecret is the length in bytes from which on a secret is removed
// wherever it stands. Shorter ones would be found in ordinary words.
const minKnownSecret = 8

// redactor removes secrets. It remembers those that it has learned, because
// agents repeat them: in errors, in paths, in the output of checks. Its methods
// may be called concurrently.
type redactor struct {
	mu       sync.Mutex
	known    map[string]bool
	forms    []string          // in which the known secrets may be written, the longest first
	replacer *strings.Replacer // of the forms
}

// learn remembers a secret. It reports whether the secret was new.
func (r *redactor) learn(secret string) bool {
	secret = strings.TrimSpace(secret)
	if len(secret) < minKnownSecret || secret == redacted {
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
		pairs = append(pairs, form, redacted)
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

// learnFrom learns the secrets of an exchange: of the request, and of the
// response as far as there is one.
func (r *redactor) learnFrom(e *harEntry) (isNew bool) {
	learned := func(secret string) {
		isNew = r.learn(secret) || isNew
	}
	for _, list := range [][]harPair{e.Request.Headers, e.Answer.Headers} {
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
	special := secretsOfEndpoint(e.Request.URL)
	for _, body := range [][]byte{e.Request.body, e.Answer.body} {
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

// redact removes the secrets of an exchange, and those that are known.
func (r *redactor) redact(e *harEntry) {
	r.learnFrom(e)
	e.Answer.body = r.body(e.Request.URL, e.Answer.body, e.Answer.Content.Partial)
	r.redactRequest(&e.Request)
	r.headers(e.Answer.Headers)
	e.Answer.Content.MimeType = r.text(e.Answer.Content.MimeType)
	e.Answer.RedirectURL = r.text(e.Answer.RedirectURL)
	e.Failure = r.text(e.Failure) // the transport quotes what it cannot read
}

func (r *redactor) redactRequest(q *harRequest) {
	q.body = r.body(q.URL, q.body, false)
	q.Method = r.text(q.Method)
	q.URL = r.url(q.URL)
	r.headers(q.Headers)
	_, query, _ := strings.Cut(q.URL, "?")
	q.QueryString = queryPairs(query)
	if q.PostData != nil {
		q.PostData.MimeType = r.text(q.PostData.MimeType)
	}
}

func (r *redactor) headers(list []harPair) {
	for i, h := range list {
		list[i] = harPair{r.text(h.Name), r.text(h.Value)}
		if isSecretName(h.Name) {
			list[i].Value = redactHeader(h.Name, h.Value)
		}
	}
}

// body removes secrets from the body of a request or response to a URL. The last
// bytes of one that was cut off may be the first of a secret.
func (r *redactor) body(target string, body []byte, isPartial bool) []byte {
	if len(body) == 0 {
		return body
	}
	if isEndpoint(target, "/v1/snapshot") {
		return []byte(redacted) // it holds all tokens and keys, compressed
	}
	special := secretsOfEndpoint(target)
	text := mapStrings(string(body), func(s jsonString) string {
		switch {
		case s.isSecret():
			return redactHeader(s.member, s.text)
		case special(s):
			return redacted
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
func (r *redactor) value(text string) string {
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
func (r *redactor) text(text string) string {
	text = r.replaceKnown(text) // first, while they are whole
	if strings.Contains(text, "://") {
		text = userInfo.ReplaceAllString(text, "${1}"+redacted+"@")
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
			b.WriteString(redacted)
			text = text[end:]
		}
	}
	b.WriteString(text)
	return b.String()
}

// replaceKnown replaces the secrets that are known.
func (r *redactor) replaceKnown(text string) string {
	r.mu.Lock()
	replacer := r.replacer
	r.mu.Unlock()
	if replacer == nil {
		return text
	}
	return replacer.Replace(text)
}

// trimCut replaces the beginning of a known secret at the end of a text.
func (r *redactor) trimCut(text string) string {
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
	return text[:len(text)-longest] + redacted
}

// url removes secrets from a URL: from each element of its path and each
// parameter, however they are escaped.
func (r *redactor) url(u string) string {
	u = r.replaceKnown(u) // first, while they are whole
	path, query, hasQuery := strings.Cut(userInfo.ReplaceAllString(u, "${1}"+redacted+"@"), "?")
	elements := strings.Split(path, "/")
	for i, e := range elements {
		plain, err := url.PathUnescape(e)
		if clean := r.replaceKnown(plain); err == nil && clean != plain {
			elements[i] = url.PathEscape(clean)
		}
	}
	path = strings.Join(elements, "/")
	if hasQuery {
		path += "?" + mapParameters(query, func(name, value string) (string, bool) {
			if isSecretName(name) && value != "" {
				return redacted, true
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

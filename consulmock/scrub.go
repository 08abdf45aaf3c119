package consulmock

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// redacted stands for a secret in a recording.
const redacted = "redacted"

// secretFields finds the members of JSON objects that are secrets. Agents match
// the names of members without regard to case.
var secretFields = regexp.MustCompile(`(?i)("(?:SecretID|Token|BearerToken|PrivateKey|PrivateKeyPEM)"\s*:\s*")((?:[^"\\]|\\.)+)"`)

func scrubJSON(text string) string {
	return secretFields.ReplaceAllString(text, "${1}"+redacted+`"`)
}

// minKnownToken is the length from which on a token is replaced wherever it
// stands. Shorter ones would be found in ordinary words.
const minKnownToken = 8

// scrubber removes secrets from entries. It remembers the tokens that it has
// seen, because agents repeat them.
type scrubber struct {
	tokens []string
}

func (s *scrubber) know(token string) {
	if len(token) >= minKnownToken && token != redacted && !slices.Contains(s.tokens, token) {
		s.tokens = append(s.tokens, token)
	}
}

func (s *scrubber) entry(e *harEntry) {
	for i, h := range e.Request.Headers {
		switch strings.ToLower(h.Name) {
		case "x-consul-token":
			s.know(strings.TrimSpace(h.Value))
			e.Request.Headers[i].Value = redacted
		case "authorization":
			scheme, secret, _ := strings.Cut(strings.TrimSpace(h.Value), " ")
			s.know(strings.TrimSpace(secret))
			e.Request.Headers[i].Value = scheme + " " + redacted
		case "cookie", "proxy-authorization":
			e.Request.Headers[i].Value = redacted
		}
	}
	for i, p := range e.Request.QueryString {
		if p.Name == "token" {
			s.know(p.Value)
			e.Request.QueryString[i].Value = redacted
		}
	}
	e.Request.URL = scrubQuery(e.Request.URL)
	if p := e.Request.PostData; p != nil && p.Encoding == "" {
		p.Text = s.body(p.Text)
	}
	if c := &e.Answer.Content; c.Encoding == "" {
		c.Text = s.body(c.Text)
	}

	e.Request.URL = s.text(e.Request.URL)
	for _, list := range [][]harPair{e.Request.Headers, e.Request.QueryString, e.Answer.Headers} {
		for i := range list {
			list[i].Value = s.text(list[i].Value)
		}
	}
	e.Answer.RedirectURL = s.text(e.Answer.RedirectURL)
}

// scrubQuery replaces the value of the parameter token in a URL.
func scrubQuery(u string) string {
	base, query, ok := strings.Cut(u, "?")
	if !ok {
		return u
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err == nil && n == "token" && value != "" {
			parts[i] = "token=" + redacted
		}
	}
	return base + "?" + strings.Join(parts, "&")
}

// body scrubs a body that is text. Others are not of Consul's API.
func (s *scrubber) body(text string) string {
	for _, m := range secretFields.FindAllStringSubmatch(text, -1) {
		s.know(m[2])
	}
	return s.text(scrubJSON(text))
}

// text replaces the tokens that are known.
func (s *scrubber) text(t string) string {
	for _, token := range s.tokens {
		t = strings.ReplaceAll(t, token, redacted)
		t = strings.ReplaceAll(t, url.QueryEscape(token), redacted)
	}
	return t
}

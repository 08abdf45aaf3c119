package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// KV reads and writes the key-value store. Its reads can be waited on with
// [QueryOptions.WaitIndex], also those that find nothing: a key that does not exist
// and a prefix without keys have metadata with an index like any others.
//
// A key is sent as it was given. One that no path can hold is an error before
// anything is sent: a key that is empty, starts with a slash, has two slashes in a
// row, an element "." or "..", or a character that is not printable. [Txn] can name
// such a key, except the empty one.
//
// Agents refuse values of more than 512 KiB, unless configured otherwise, with
// [ErrTooLarge].
type KV struct {
	c *Client
}

// KVPair is a key with its value.
type KVPair struct {
	Key   string
	Value []byte // nil if it is empty

	// Flags are any number of the program's own.
	Flags uint64

	// Session is the ID of the session that holds the key as a lock, empty if none
	// does. LockIndex counts the acquisitions of the key, but any write by others
	// resets it: it does not tell a former holder from the present one. The
	// ModifyIndex of an acquisition does, since it is greater for each later one.
	Session   string `json:",omitempty"`
	LockIndex uint64

	// CreateIndex and ModifyIndex are the indexes of the writes that created the key
	// and changed it last. A write of the same value and flags is no change.
	CreateIndex uint64
	ModifyIndex uint64

	Namespace string `json:",omitempty"` // Consul Enterprise only
	Partition string `json:",omitempty"` // Consul Enterprise only
}

// Get returns a key's pair. If the key does not exist, the pair is nil, and the
// metadata has the index to wait on for its creation. Agents of the 1.8 series end
// such a wait also when a key with a similar name changes. An agent responds 404 if the
// key does not exist; a response with the status 200 and no pair is an error.
//
// GET /v1/kv/{key}
func (k *KV) Get(ctx context.Context, key string, q *QueryOptions) (*KVPair, *QueryMeta, error) {
	pairs, meta, err := find(ctx, k.c, atKey(key), nil, q, checkPairs)
	if err != nil || len(pairs) == 0 {
		return nil, meta, err
	}
	return pairs[0], meta, nil
}

// Value returns a key's value alone. If the key does not exist, the error is
// ErrNotFound.
//
// GET /v1/kv/{key}?raw
func (k *KV) Value(ctx context.Context, key string, q *QueryOptions) ([]byte, error) {
	r, err := k.c.query(atKey(key), q)
	if err != nil {
		return nil, err
	}
	var value []byte
	r.out = &value
	r.params.Set("raw", "")
	resp, err := k.c.do(ctx, r)
	if err != nil {
		return nil, k.missing(resp, err)
	}
	return value, nil
}

// List returns the pairs of all keys that start with the prefix, in the order of
// their bytes. The prefix is one of the text, not a folder: "app" also finds
// "app2/x". An empty prefix finds all keys. If there are none, the list is empty,
// and the metadata has the index to wait on. As in Get, a response with the status 200
// and no pair is an error.
//
// Of keys that the token may not read nothing is seen. Modern agents report that in
// [QueryMeta.ResultsFilteredByACLs].
//
// A wait on a prefix can miss that all its keys are deleted by the recursive deletion
// of a shorter prefix, on agents of all versions: it then goes on until its
// WaitTime is over.
//
// GET /v1/kv/{prefix}?recurse
func (k *KV) List(ctx context.Context, prefix string, q *QueryOptions) ([]*KVPair, *QueryMeta, error) {
	return find(ctx, k.c, atPrefix(prefix), url.Values{"recurse": {""}}, q, checkPairs)
}

// Keys returns the keys that start with the prefix, in the order of their bytes.
// With a separator, a key is cut after the first one that follows the prefix, and
// what is then equal is returned once: Keys(ctx, "app/", "/", nil) returns the keys
// and folders in the folder app. For everything else see List.
//
// GET /v1/kv/{prefix}?keys
func (k *KV) Keys(ctx context.Context, prefix, separator string, q *QueryOptions) ([]string, *QueryMeta, error) {
	params := url.Values{"keys": {""}}
	if separator != "" {
		params.Set("separator", separator)
	}
	return find(ctx, k.c, atPrefix(prefix), params, q, checkKeys)
}

// checkPairs returns an error if no agent sends such a list. One that has nothing
// responds 404: what has removed the pairs on the way, or never had them, must not make
// a lock look lost.
func checkPairs(pairs []*KVPair) error {
	switch {
	case len(pairs) == 0:
		return errors.New("no pair, and not the status 404 either, so it is not the response of an agent")
	case slices.Contains(pairs, nil):
		return errors.New("a null instead of a pair, so it is not the response of an agent")
	}
	return nil
}

// checkKeys is checkPairs for keys. The list of all keys may be empty.
func checkKeys(keys []string) error {
	if keys == nil {
		return errors.New("a null instead of a list, so it is not the response of an agent")
	}
	return nil
}

// find is get for a list in which nothing found is a 404 with an index. check, if not
// nil, returns what is wrong with a list.
func find[T any](ctx context.Context, c *Client, at endpoint, params url.Values, q *QueryOptions, check func([]T) error) ([]T, *QueryMeta, error) {
	r, err := c.query(at, q)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range params {
		r.params[name] = values
	}
	var found []T
	r.out, r.shared = &found, true
	resp, err := c.do(ctx, r)
	meta, err := c.queryMeta(ctx, r, resp, err)
	switch {
	case err == nil:
		if check != nil {
			err = check(found)
		}
		if err != nil {
			return nil, nil, c.fail(ctx, r, err)
		}
		return found, meta, nil
	case meta != nil: // only something missing has metadata beside the error
		return nil, meta, nil
	}
	return nil, nil, c.notFromAgent(err)
}

// missing returns the error for a read that has found nothing.
func (k *KV) missing(resp *response, err error) error {
	if resp != nil && resp.isMissing() {
		return err
	}
	return k.c.notFromAgent(err)
}

// notFromAgent keeps a 404 without an index, which is not an agent's, from being
// taken for a key that does not exist.
func (c *Client) notFromAgent(err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%v (without X-Consul-Index, so it is not the response of an agent)", err)
}

// Put writes a key's value and flags, whatever it had, and creates the key if it
// does not exist. Nothing else of the pair counts. A key that is held as a lock stays
// held, but see [KVPair.LockIndex].
//
// PUT /v1/kv/{key}
func (k *KV) Put(ctx context.Context, p *KVPair, w *WriteOptions) error {
	if p == nil {
		return errNilPair
	}
	r := k.putCall(p, w, nil)
	ok, err := k.report(ctx, r)
	if err == nil && !ok {
		err = k.c.fail(ctx, r, fmt.Errorf("the agent responded false for key %q", shorten(p.Key, maxErrorMessage)))
	}
	return err
}

// CAS writes a key's value and flags if its ModifyIndex is that of the pair. A
// ModifyIndex of 0 means that the key must not exist. It reports whether it has
// written.
//
// PUT /v1/kv/{key}?cas
func (k *KV) CAS(ctx context.Context, p *KVPair, w *WriteOptions) (bool, error) {
	if p == nil {
		return false, errNilPair
	}
	return k.report(ctx, k.putCall(p, w, url.Values{"cas": {strconv.FormatUint(p.ModifyIndex, 10)}}))
}

// Acquire makes the session of the pair hold the key as a lock, and writes the
// pair's value and flags. It reports whether the session holds it now: false means
// that another session does, or that the key's lock-delay is not over, and the agent
// does not tell which; a [KVLock] in a [Txn] does. If the session already holds the
// key, that is a success. An unknown session is [ErrUnknownSession].
//
// PUT /v1/kv/{key}?acquire
func (k *KV) Acquire(ctx context.Context, p *KVPair, w *WriteOptions) (bool, error) {
	return k.lock(ctx, "acquire", p, w)
}

// Release ends the hold of the session of the pair on the key, and writes the pair's
// value and flags: without a Value the key is empty afterwards. It reports whether
// the session held the key. There is no lock-delay then.
//
// PUT /v1/kv/{key}?release
func (k *KV) Release(ctx context.Context, p *KVPair, w *WriteOptions) (bool, error) {
	return k.lock(ctx, "release", p, w)
}

func (k *KV) lock(ctx context.Context, verb string, p *KVPair, w *WriteOptions) (bool, error) {
	switch {
	case p == nil:
		return false, errNilPair
	case p.Session == "":
		return false, errors.New("consul: KVPair.Session is empty; want the ID of a session")
	}
	return k.report(ctx, k.putCall(p, w, url.Values{verb: {p.Session}}))
}

var errNilPair = errors.New("consul: nil KVPair")

// putCall returns the call that writes a pair.
func (k *KV) putCall(p *KVPair, w *WriteOptions, params url.Values) *call {
	r := k.c.write(http.MethodPut, atKey(p.Key), w)
	r.in = append([]byte{}, p.Value...)
	for name, values := range params {
		r.params[name] = values
	}
	if p.Flags != 0 {
		r.params.Set("flags", strconv.FormatUint(p.Flags, 10))
	}
	return r
}

// report performs a call to which the response is true or false.
func (k *KV) report(ctx context.Context, r *call) (ok bool, err error) {
	r.out = &ok
	_, err = k.c.do(ctx, r)
	return ok && err == nil, err
}

// Delete deletes a key. It is no error if there is none, and it does not matter
// whether somebody holds it.
//
// DELETE /v1/kv/{key}
func (k *KV) Delete(ctx context.Context, key string, w *WriteOptions) error {
	_, err := k.delete(ctx, atKey(key), w, nil)
	return err
}

// DeleteCAS deletes a key if its ModifyIndex is that of the pair. It reports whether
// the key does not exist any more: true also if there was none.
//
// DELETE /v1/kv/{key}?cas
func (k *KV) DeleteCAS(ctx context.Context, p *KVPair, w *WriteOptions) (bool, error) {
	if p == nil {
		return false, errNilPair
	}
	return k.delete(ctx, atKey(p.Key), w, url.Values{"cas": {strconv.FormatUint(p.ModifyIndex, 10)}})
}

// DeleteTree deletes all keys that start with the prefix. As in List it is not a
// folder: "app" also deletes "app2/x". An empty prefix, which would delete all
// keys, is an error.
//
// DELETE /v1/kv/{prefix}?recurse
func (k *KV) DeleteTree(ctx context.Context, prefix string, w *WriteOptions) error {
	if prefix == "" {
		return errors.New("consul: the prefix to delete is empty, which would delete all keys")
	}
	_, err := k.delete(ctx, atPrefix(prefix), w, url.Values{"recurse": {""}})
	return err
}

func (k *KV) delete(ctx context.Context, at endpoint, w *WriteOptions, params url.Values) (ok bool, err error) {
	r := k.c.write(http.MethodDelete, at, w)
	for name, values := range params {
		r.params[name] = values
	}
	return k.report(ctx, r)
}

const kvPath = "/v1/kv/"

// atKey returns the endpoint of a key.
func atKey(key string) endpoint {
	if key == "" {
		return endpoint{err: errors.New("consul: key is empty")}
	}
	return atPrefix(key)
}

// atPrefix returns the endpoint of a prefix, which may be empty. Slashes stay what
// they are. Agents redirect a path that is not clean to another key.
func atPrefix(prefix string) endpoint {
	problem := ""
	switch {
	case strings.HasPrefix(prefix, "/"):
		problem = "it starts with a slash"
	case strings.Contains(prefix, "//"):
		problem = "it has an empty element"
	case hasDotElement(prefix):
		problem = "it has an element . or .."
	case strings.ContainsFunc(prefix, func(r rune) bool { return !unicode.IsPrint(r) }):
		problem = "it has a character that is not printable"
	}
	if problem != "" {
		return endpoint{err: fmt.Errorf("consul: key %q cannot be part of a path: %s; a transaction (Txn) can name it", shorten(prefix, maxErrorMessage), problem)}
	}
	elements := strings.Split(prefix, "/")
	for i, element := range elements {
		elements[i] = url.PathEscape(element)
	}
	return at(kvPath + strings.Join(elements, "/"))
}

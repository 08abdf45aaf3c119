package configuration

import (
	"errors"
	"fmt"
	"iter"

	"github.com/lictor-go/consul"
)

// Decode decodes the values of snapshots, as they come from [Watch] or [View.Watch],
// with the caller's function, and yields them by their keys. A value is decoded again
// only if it or its flags have changed; the others are those of the map before. Each map
// is a new one that belongs to the caller. All keys are relative to the folder, also the
// one of the pair that decode is given.
//
// A snapshot is decoded whole or not at all, so that what was written together is
// seen together: if a value cannot be decoded, an error is yielded that names the keys
// and wraps what the function returned, and the last good map remains what is known.
// A program that wants to do without a value that is broken returns a T that shows it,
// and no error. Errors of the snapshots are yielded as they are.
func Decode[T any](snapshots iter.Seq2[*Snapshot, error], decode func(*consul.KVPair) (T, error)) iter.Seq2[map[string]T, error] {
	return func(yield func(map[string]T, error) bool) {
		switch {
		case snapshots == nil:
			yield(nil, errors.New("configuration: nil snapshots"))
			return
		case decode == nil:
			yield(nil, errors.New("configuration: nil function decode"))
			return
		}
		var known map[string]decoded[T]
		for s, err := range snapshots {
			var values map[string]T
			switch {
			case err == nil && s == nil:
				err = errors.New("configuration: Decode was given neither a snapshot nor an error")
			case err == nil:
				known, values, err = decodeAll(s, known, decode)
			}
			if !yield(values, err) {
				return
			}
		}
	}
}

// decoded is what a value was decoded into.
type decoded[T any] struct {
	pair  *consul.KVPair
	value T
	err   error
}

// decodeAll decodes a snapshot, except what is known already.
func decodeAll[T any](s *Snapshot, known map[string]decoded[T], decode func(*consul.KVPair) (T, error)) (map[string]decoded[T], map[string]T, error) {
	next := make(map[string]decoded[T], len(s.Pairs))
	values := make(map[string]T, len(s.Pairs))
	var errs []error
	for _, p := range s.Pairs {
		d, ok := known[p.Key]
		if !ok || !sameContent(d.pair, p) {
			d = decoded[T]{pair: p}
			if d.value, d.err = decode(p); d.err != nil {
				d.err = fmt.Errorf("configuration: key %q: %w", s.Prefix+p.Key, d.err)
			}
		}
		next[p.Key], values[p.Key] = d, d.value
		if d.err != nil {
			errs = append(errs, d.err)
		}
	}
	if len(errs) > 0 {
		return next, nil, errors.Join(errs...)
	}
	return next, values, nil
}

package state

import (
	"encoding/json"
	"errors"
	"time"
)

// WireDuration is a duration in a request: a string in Go's form, or a number of
// nanoseconds. Anything else is ignored, as agents do.
type WireDuration struct {
	Set bool
	D   time.Duration
	Err error // it is malformed
}

// UnmarshalJSON implements [json.Unmarshaler]. What is malformed is an error later,
// because agents read durations when they have read everything else.
func (w *WireDuration) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		d, err := time.ParseDuration(v)
		*w = WireDuration{Set: true, D: d, Err: err}
	case float64:
		*w = WireDuration{Set: true, D: time.Duration(v)}
	}
	return nil
}

// Or returns the first of two durations that is set.
func (w WireDuration) Or(other WireDuration) time.Duration {
	if w.Set {
		return w.D
	}
	return other.D
}

// CheckDefinition is what catalog/register said about how to run a check.
type CheckDefinition struct {
	Interval                       *durationJSON       `json:",omitempty"`
	OutputMaxSize                  uint                `json:",omitempty"`
	Timeout                        *durationJSON       `json:",omitempty"`
	DeregisterCriticalServiceAfter *durationJSON       `json:",omitempty"`
	HTTP                           string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	H2PING                         string              `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty"`
	DockerContainerID              string              `json:",omitempty"`
	Shell                          string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	TTL                            *nanosecondsJSON    `json:",omitempty"`
	SessionName                    string              `json:",omitempty"`
}

// ErrNullDefinition is for a definition that is null, at which the agent's own code breaks:
// it closes the connection.
var ErrNullDefinition = errors.New("the definition of a check is null")

// UnmarshalJSON implements [json.Unmarshaler]: fields that agents do not know are
// ignored, and a duration of 0 is none.
func (d *CheckDefinition) UnmarshalJSON(data []byte) error {
	type plain CheckDefinition
	if string(data) == "null" {
		return ErrNullDefinition
	}
	if err := json.Unmarshal(data, (*plain)(d)); err != nil {
		return err
	}
	for _, duration := range []**durationJSON{&d.Interval, &d.Timeout, &d.DeregisterCriticalServiceAfter} {
		switch {
		case *duration == nil:
		case (*duration).Err != nil:
			return (*duration).Err
		case (*duration).D == 0:
			*duration = nil
		}
	}
	switch {
	case d.TTL == nil:
	case d.TTL.Err != nil:
		return d.TTL.Err
	case d.TTL.D == 0:
		d.TTL = nil
	}
	return nil
}

// durationJSON is a duration that is read in every form and written as a string.
type durationJSON struct{ WireDuration }

// MarshalJSON implements [json.Marshaler].
func (d durationJSON) MarshalJSON() ([]byte, error) { return json.Marshal(d.D.String()) }

// nanosecondsJSON is a duration that is read in every form and written as a number.
type nanosecondsJSON struct{ WireDuration }

// MarshalJSON implements [json.Marshaler].
func (n nanosecondsJSON) MarshalJSON() ([]byte, error) { return json.Marshal(n.D) }

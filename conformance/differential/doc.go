// Package differential looks for requests that the fake agent of package
// consulmock responds to otherwise than a real agent does. It makes up sequences of
// requests, plays each of them to both at once, and compares what they respond as
// package scenario does.
//
// A sequence follows from its seed and the version of the agent alone. One that shows
// a difference is played again with fresh agents, to tell behaviour from
// chance, then made as short as it can be and printed in the form in which the
// scenarios of the recordings are written.
package differential

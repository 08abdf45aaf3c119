// Package scenario plays the recordings of real agents as scenarios: it sends
// their requests again, in the recorded order and overlap, to a target, and
// compares each answer with the recorded one. The targets are the fake agent of
// package consulmock, the recording itself served by consulmock, and a real
// agent of the recording's version, which shows that the comparison is right.
//
// What differs is compared with a list of known differences that gives a reason
// for each. A difference that is not listed is a failure, and so is one that is
// listed and not found. A real agent gets three tries at each recording, because
// what it answers on a busy machine is now and then a matter of chance.
package scenario

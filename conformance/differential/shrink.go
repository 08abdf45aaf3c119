package differential

// shrink returns a shorter sequence of which shows still holds, trying at most
// tries others. It leaves out ever smaller runs of steps, then the waits of those
// that remain. The last step stays, since that is where it shows.
func shrink(steps []step, tries int, shows func([]step) bool) []step {
	try := func(shorter []step) bool {
		if tries == 0 {
			return false
		}
		tries--
		if shows(shorter) {
			steps = shorter
			return true
		}
		return false
	}
	try(steps[len(steps)-1:])
	for size := len(steps) / 2; size > 0; size /= 2 {
		for end := len(steps) - 1; end > 0; end = max(end-size, 0) {
			start := max(end-size, 0)
			try(without(steps, start, end-start))
		}
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if len(steps[i].waits) > 0 && len(steps[i].writes) > 0 {
			plain := append([]step(nil), steps...)
			plain[i] = step{restart: steps[i].restart, writes: steps[i].writes}
			try(plain)
		}
		for n := len(steps[i].waits) - 1; n >= 0 && len(steps[i].waits) > 1; n-- {
			try(withoutWait(steps, i, n))
		}
	}
	return steps
}

func without(steps []step, start, n int) []step {
	shorter := append([]step(nil), steps[:start]...)
	return append(shorter, steps[start+n:]...)
}

// withoutWait leaves out a wait, and the read before it.
func withoutWait(steps []step, i, n int) []step {
	shorter := append([]step(nil), steps...)
	s := &shorter[i]
	s.waits = append(append([]request(nil), s.waits[:n]...), s.waits[n+1:]...)
	s.reads = append(append([]request(nil), s.reads[:n]...), s.reads[n+1:]...)
	return shorter
}

package consulmock

import "testing"

func TestObserverWaitEnds(t *testing.T) {
	done := make(chan struct{})
	close(done)
	if new(Observer).Wait(1, done) {
		t.Error("nothing was observed")
	}
}

package convert

import (
	"testing"
	"time"
)

// What is let through takes its time, which the next one has to wait for.
func TestPacerCountsTime(t *testing.T) {
	p := pacer{rate: 1000}
	before := time.Now()
	p.wait(1)
	if got := p.next.Sub(before); got < time.Millisecond {
		t.Errorf("a byte takes %v at 1000 bytes a second", got)
	}
	end := p.next
	p.wait(20)
	if now := time.Now(); now.Before(end) {
		t.Errorf("it did not wait for %v", end.Sub(now))
	}
	if got := p.next.Sub(end); got < 20*time.Millisecond {
		t.Errorf("20 bytes take %v", got)
	}
	free := pacer{}
	free.wait(1 << 62)
	if !free.next.IsZero() {
		t.Error("without a rate there is nothing to count")
	}
}

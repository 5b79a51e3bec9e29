//go:build linux && amd64

package kvm

import "time"

// watchInterval is how often the guest's threads are looked at.
const watchInterval = 50 * time.Millisecond

// watch returns when the guest has ended, and ends it itself when one of its
// threads hangs. threads lists them.
func (g *guest) watch(tick <-chan time.Time, stall time.Duration, threads func() []*thread) {
	for {
		select {
		case e := <-g.ended:
			g.ended <- e
			return
		case <-tick:
		}
		t := now()
		for _, th := range threads() {
			if since := th.since.Load(); since != 0 && t-since > int64(stall) {
				g.end(Stalled, 1, "")
			}
		}
	}
}

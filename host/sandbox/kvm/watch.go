//go:build linux && amd64

package kvm

import "time"

// watchInterval is how often the guest's time limits are looked at.
const watchInterval = 50 * time.Millisecond

// watch returns when the guest has ended, and ends it itself when it has
// outlived its time limit or a thread of it hangs. threads lists its threads.
func (g *guest) watch(tick <-chan time.Time, c Config, threads func() []*thread) {
	start := now()
	for {
		select {
		case e := <-g.ended:
			g.ended <- e
			return
		case <-tick:
		}
		t := now()
		if c.Timeout > 0 && t-start > int64(c.Timeout) {
			g.end(TimedOut, 1, "")
			continue
		}
		for _, th := range threads() {
			if since := th.since.Load(); since != 0 && t-since > int64(c.Stall) {
				g.end(Stalled, 1, "")
			}
		}
	}
}

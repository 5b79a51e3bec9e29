package convert

import (
	"sync"
	"time"
)

// A pacer spreads bytes over time.
type pacer struct {
	rate int64 // bytes a second; 0 is without end

	mu   sync.Mutex
	next time.Time // when what was let through so far is over
}

// wait returns when n more bytes may be written.
func (p *pacer) wait(n int64) {
	if p.rate <= 0 {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	time.Sleep(wait)
}

// flush returns when all bytes that were let through have had their time.
func (p *pacer) flush() { p.wait(0) }

//go:build linux && amd64

package kvm

import "sync"

// maxLog bounds what is kept of the guest's standard output and error.
const maxLog = 16 << 10

// A log keeps the beginning of what the guest writes to its standard output
// and error: the reason of a crash comes first.
type log struct {
	mu   sync.Mutex
	kept []byte
}

func (l *log) write(views [][]byte) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n uint64
	for _, v := range views {
		n += uint64(len(v))
		l.kept = append(l.kept, v[:min(len(v), maxLog-len(l.kept))]...)
	}
	return n
}

func (l *log) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

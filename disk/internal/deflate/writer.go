package deflate

import "encoding/binary"

// maxStored is the most that a stored block holds (RFC 1951, 3.2.4).
const maxStored = 1<<16 - 1

// A writer writes bits, the first one lowest.
type writer struct {
	p    []byte
	at   int
	bits uint64 // those that are not in p yet
	n    uint   // 7 at the most between calls
}

// begin has a writer append to dst. It makes room for all that n bytes of
// content may need: what does not get smaller is stored.
func (w *writer) begin(dst []byte, n int) {
	const words = 64 // for what is written in words, and headers
	need := len(dst) + n + n/maxTokens*words + words + maxTokens/8
	if cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	w.p, w.at, w.bits, w.n = dst[:cap(dst)], len(dst), 0, 0
}

func (w *writer) end() []byte {
	w.align()
	p := w.p[:w.at]
	w.p = nil
	return p
}

// put writes the low n bits of v, 48 at the most; the others are zeros.
func (w *writer) put(v uint64, n uint) {
	w.bits |= v << w.n
	w.n += n
	binary.LittleEndian.PutUint64(w.p[w.at:], w.bits)
	w.at += int(w.n >> 3)
	w.bits >>= w.n &^ 7
	w.n &= 7
}

// align goes on at a byte.
func (w *writer) align() {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
}

// stored writes content in blocks that are not compressed.
func (w *writer) stored(content []byte, final uint64) {
	for {
		n := min(len(content), maxStored)
		last := uint64(0)
		if n == len(content) {
			last = final
		}
		w.put(last, 3)
		w.align()
		w.put(uint64(n)|uint64(^uint16(n))<<16, 32)
		w.at += copy(w.p[w.at:], content[:n])
		if content = content[n:]; len(content) == 0 {
			return
		}
	}
}

package convert

import (
	"encoding/binary"
	"hash"

	"instar/disk"
	"instar/internal/zeros"
)

// A ZeroWriter is a hash that takes a run of zeros at once, however long it is.
type ZeroWriter interface {
	hash.Hash
	WriteZeros(n int64)
}

// NewRunHash returns a hash of content that costs what the content has besides
// zeros. It is made of two hashes: one of the sectors that are not zeros, and one
// of how many of these and of the others there are in turn. How the content
// comes, by Write in whole sectors or as zeros, makes no difference.
func NewRunHash(newHash func() hash.Hash) ZeroWriter {
	return &runHash{Hash: newHash(), runs: newHash(), newHash: newHash}
}

type runHash struct {
	hash.Hash           // of the sectors that are not zeros
	runs      hash.Hash // of the lengths of runs, from one of zeros on
	newHash   func() hash.Hash
	zeros     int64 // bytes of the run of zeros, and
	stored    int64 // of that of others, that the content ends with so far
}

// Write implements [io.Writer]; p is whole sectors.
func (h *runHash) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		zero, end := zeros.All(p[:disk.SectorSize]), disk.SectorSize
		for end < len(p) && zeros.All(p[end:end+disk.SectorSize]) == zero {
			end += disk.SectorSize
		}
		if zero {
			h.WriteZeros(int64(end))
		} else {
			h.Hash.Write(p[:end])
			h.stored += int64(end)
		}
		p = p[end:]
	}
	return n, nil
}

// WriteZeros implements [ZeroWriter].
func (h *runHash) WriteZeros(n int64) {
	if n > 0 && h.stored > 0 {
		h.runs.Write(h.ends())
		h.zeros, h.stored = 0, 0
	}
	h.zeros += n
}

// ends says how long the last two runs are.
func (h *runHash) ends() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(h.zeros)), uint64(h.stored))
}

// Sum implements [hash.Hash].
func (h *runHash) Sum(b []byte) []byte {
	all := h.newHash()
	all.Write(h.Hash.Sum(nil))
	all.Write(h.runs.Sum(nil))
	all.Write(h.ends())
	return all.Sum(b)
}

// Reset implements [hash.Hash].
func (h *runHash) Reset() {
	h.Hash.Reset()
	h.runs.Reset()
	h.zeros, h.stored = 0, 0
}

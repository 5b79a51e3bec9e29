package deflate

// A splitter tells when content has changed so much that a new code pays. It
// counts tokens by kind, and compares those of late with those before in the
// block.
type splitter struct {
	start       int
	before, now [kinds]int32
	total, late int32
}

const (
	kinds     = 10
	lateCount = 512
	// A block is split neither before nor after fewer bytes.
	minBlock = 5000
)

func newSplitter(start int) splitter { return splitter{start: start} }

func (s *splitter) literal(c byte) {
	s.now[c>>5&6|c&1]++
	s.late++
}

func (s *splitter) match(length int) {
	kind := 8
	if length >= 9 {
		kind = 9
	}
	s.now[kind]++
	s.late++
}

// due reports whether a block should end at pos, of n bytes.
func (s *splitter) due(pos, n int) bool {
	if s.late < lateCount {
		return false
	}
	if s.total > 0 && pos-s.start >= minBlock && n-pos >= minBlock && s.changed(pos) {
		return true
	}
	for i, c := range s.now {
		s.before[i] += c
	}
	s.total += s.late
	s.now, s.late = [kinds]int32{}, 0
	return false
}

// changed compares shares of kinds. The longer a block is, the less it takes: a
// code of its own is paid for by then.
func (s *splitter) changed(pos int) bool {
	delta := int64(0)
	for i, c := range s.now {
		d := int64(c)*int64(s.total) - int64(s.before[i])*int64(s.late)
		delta += max(d, -d)
	}
	most := int64(s.late) * int64(s.total) * 2 / 5
	return delta+int64(pos-s.start)/4096*most/64 >= most
}

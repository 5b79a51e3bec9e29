package deflate

import "math/bits"

// parseFast makes the tokens of the next block, and returns where that ends. It
// takes the first match that it finds, of the last position with a hash, and
// looks less often the longer it finds none.
func (e *Encoder) parseFast(src []byte, start int) int {
	e.tokens = e.tokens[:0]
	e.block.begin()
	pos, last := start, len(src)-tail
	split := newSplitter(start)
	base, window := e.base, e.window
	head := &e.head
	lazy, covered := e.lazy, e.covered
	since := pos // where literals begin that have no token yet
	for pos < last {
		v := load32(src, pos)
		at := base + int32(pos)
		h := hash4(v)
		candidate := head[h]
		head[h] = at
		distance := at - candidate
		if distance >= window || load32(src, pos-int(distance)) != v {
			near := e.near(src, pos, v)
			if near == 0 {
				pos += 1 + (pos-since)>>8
				if pos-since >= maxTokens/2 {
					break
				}
				continue
			}
			e.literals(src, since, pos, &split)
			e.match(minMatch, near)
			split.match(minMatch)
			pos += minMatch
			since = pos
			continue
		}
		from := int(candidate - base)
		length := matchLength(src, from, pos, 4)
		// A longer one may begin at the next position.
		if length < lazy && pos+1 < last {
			v := load32(src, pos+1)
			at++
			h := hash4(v)
			candidate := head[h]
			head[h] = at
			if distance := at - candidate; distance < window && load32(src, pos+1-int(distance)) == v {
				if n := matchLength(src, int(candidate-base), pos+1, 4); n > length {
					pos, from, length = pos+1, int(candidate-base), n
				}
			}
		}
		// It may begin earlier.
		for pos > since && from > 0 && src[from-1] == src[pos-1] && length < maxMatch {
			pos--
			from--
			length++
		}
		e.literals(src, since, pos, &split)
		e.match(length, pos-from)
		split.match(length)
		end := pos + length
		for p := max(pos+1, end-covered); p < min(end, last); p++ {
			head[hash4(load32(src, p))] = base + int32(p)
		}
		pos, since = end, end
		if len(e.tokens) >= maxTokens/2 || split.due(pos, len(src)) {
			return pos
		}
	}
	// What follows is known of no position: the next block may go on there.
	if pos >= last {
		pos = len(src)
	}
	e.literals(src, since, pos, &split)
	return pos
}

// near returns the distance of a match of three bytes that is worth it, and 0 if
// there is none. v is what src has at pos.
func (e *Encoder) near(src []byte, pos int, v uint32) int {
	h := hash3(v)
	distance := e.base + int32(pos) - e.head3[h]
	e.head3[h] = e.base + int32(pos)
	if distance <= min(int32(e.far), e.window-1) && (load32(src, pos-int(distance))^v)<<8 == 0 {
		return int(distance)
	}
	return 0
}

// literals makes tokens of [from, to).
func (e *Encoder) literals(src []byte, from, to int, s *splitter) {
	for _, c := range src[from:to] {
		e.literal(c)
		s.literal(c)
	}
}

// matchLength returns how long src is the same at two positions, which is known
// of the first n bytes.
func matchLength(src []byte, from, pos, n int) int {
	most := min(maxMatch, len(src)-pos)
	for n+8 <= most {
		if x := load64(src, from+n) ^ load64(src, pos+n); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < most && src[from+n] == src[pos+n] {
		n++
	}
	return n
}

// Package claims finds the parts of an image file that are used more than once, in
// bounded memory: each table and block claims the sectors that it lies in.
//
// What is in memory are the places where the number of claims changes: where one ends
// and the next begins, nothing does. If there are more than fit, those of the first
// part of the file are judged, and the image lists its claims again for the next part.
package claims

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"instar/disk"
)

// Limits. An image that goes beyond the last two is not looked at any further: it is
// in millions of pieces, none of which follows the one before.
const (
	maxEvents = 1 << 19 // in memory, 16 bytes each
	maxPasses = 64
	maxPieces = 1 << 25
)

const sectorBits = 9

// A Kind says what a claim is for.
type Kind uint8

// Kinds is how many kinds there may be.
const Kinds = 32

// A Part is a part [Start, End) of the file, in bytes and whole sectors, that the
// same claims have all of.
type Part struct {
	Start, End int64
	Uses       [Kinds]int64 // how many claims of each kind
	Partial    bool         // there may be more
}

// An event is where claims begin or end: the sector, and the kind.
type event struct {
	key uint64
	n   int64 // by how many there are more behind it
}

func key(sector int64, k Kind) uint64 { return uint64(sector)*Kinds | uint64(k) }

func (e event) sector() int64 { return int64(e.key / Kinds) }

// A List takes the claims of an image.
type List struct {
	judge        func(p *Part) error
	most, pieces int     // events, and what may still be added
	events       []event // in no order
	start, end   int64   // the part of the file that is looked at, in sectors
	more         bool    // something lies behind it

	// The last claim, which the next may go on. It is n times there.
	kind        Kind
	first, last int64
	n           int64
}

// ErrEnough says that no more is to be listed: what is known is judged, and that is
// all.
var ErrEnough = errors.New("too many pieces")

// Check has list claim all that an image uses, once or more, and returns the first
// error that judge has for a part that is claimed, or list for itself. What judge
// refuses it must refuse as well if there are more claims: it is asked before all
// of them are known.
func Check(list func(l *List) error, judge func(p *Part) error) error {
	return check(&List{judge: judge, most: maxEvents, pieces: maxPieces}, list)
}

func check(l *List, list func(l *List) error) error {
	l.end = math.MaxInt64
	for range maxPasses {
		l.more, l.events = false, l.events[:0]
		err := list(l)
		if err == nil {
			err = l.flush()
		}
		if err == nil {
			err = l.judgeAll(false)
		}
		switch {
		case errors.Is(err, ErrEnough):
			if err = l.flush(); err == nil || errors.Is(err, ErrEnough) {
				err = l.judgeAll(false)
			}
			return err
		case err != nil || !l.more:
			return err
		}
		// What is listed in vain costs time: the next part is about as long.
		width := 2 * (l.end - l.start)
		if len(l.events) < l.most/4 {
			width *= 4
		}
		l.start, l.end = l.end, l.end+width
	}
	return nil
}

// Claim says that the n bytes at off are used for something. Nothing is claimed
// where n is not positive.
func (l *List) Claim(k Kind, off, n int64) error {
	if n <= 0 || off < 0 {
		return nil
	}
	const most = math.MaxInt64 >> sectorBits
	first, last := off>>sectorBits, int64(most)
	if off <= math.MaxInt64-n {
		last = min((off+n-1)>>sectorBits+1, most)
	}
	switch {
	case k != l.kind || l.n == 0:
	case first == l.last && l.n == 1:
		l.last = last
		return nil
	case first == l.first && last == l.last:
		l.n++
		return nil
	}
	err := l.flush()
	l.kind, l.first, l.last, l.n = k, first, last, 1
	return err
}

// flush adds the last claim.
func (l *List) flush() error {
	first, last, n := max(l.first, l.start), l.last, l.n
	l.n = 0
	switch {
	case n == 0 || last <= l.start:
		return nil
	case first >= l.end:
		l.more = true
		return nil
	case l.pieces == 0:
		return ErrEnough
	}
	l.pieces--
	if len(l.events)+2 > cap(l.events) { // append would leave more behind
		l.events = append(make([]event, 0, min(l.most, 64+4*cap(l.events))), l.events...)
	}
	l.events = append(l.events, event{key(first, l.kind), n})
	if last < l.end { // else it ends with the part
		l.events = append(l.events, event{key(last, l.kind), -n})
	} else if last > l.end {
		l.more = true
	}
	if len(l.events) >= l.most-1 {
		return l.shrink()
	}
	return nil
}

// shrink has half of the room at least be free: events of a place become one, and the
// latter half of the file is left to another pass.
func (l *List) shrink() error {
	if err := l.judgeAll(true); err != nil {
		return err
	}
	if len(l.events) <= l.most/2 {
		return nil
	}
	l.end = l.events[l.most/2].sector()
	if l.end == l.events[0].sector() { // which takes more events in a place than there are keys
		return ErrEnough
	}
	l.more = true
	k, _ := slices.BinarySearchFunc(l.events, key(l.end, 0), func(e event, k uint64) int { return cmp.Compare(e.key, k) })
	l.events = l.events[:k]
	return nil
}

// judgeAll sorts the events, and has each part be judged that is claimed.
func (l *List) judgeAll(partial bool) error {
	l.sort()
	p := Part{Partial: partial}
	claimed := int64(0)
	for k := 0; k < len(l.events); {
		at := l.events[k].sector()
		for ; k < len(l.events) && l.events[k].sector() == at; k++ {
			e := l.events[k]
			p.Uses[e.key%Kinds] += e.n
			claimed += e.n
		}
		next := l.end
		if k < len(l.events) {
			next = l.events[k].sector()
		}
		if claimed == 0 {
			continue
		}
		p.Start, p.End = at<<sectorBits, min(next, math.MaxInt64>>sectorBits)<<sectorBits
		if err := l.judge(&p); err != nil {
			return err
		}
	}
	return nil
}

// sort sorts the events, and makes those of one place and kind one, or none.
func (l *List) sort() {
	slices.SortFunc(l.events, func(a, b event) int { return cmp.Compare(a.key, b.key) })
	n := 0
	for _, e := range l.events {
		switch {
		case n > 0 && l.events[n-1].n == 0:
			l.events[n-1] = e
		case n > 0 && l.events[n-1].key == e.key:
			l.events[n-1].n += e.n
		default:
			l.events[n] = e
			n++
		}
	}
	l.events = l.events[:n]
}

// Names are what kinds are called, with an article.
type Names []string

// Overlap returns the error for a part that a and b use, which may be the same.
func (n Names) Overlap(format string, p *Part, a, b Kind) error {
	other := n[b]
	if a == b {
		other = "another"
	}
	return disk.Corruptf(format, "%s and %s overlap at offset %#x", n[a], other, p.Start)
}

// Once returns the judge of a format in which nothing has two uses. Kinds below loose
// are tables that are not held against one another.
func (n Names) Once(format string, loose Kind) func(p *Part) error {
	return func(p *Part) error {
		last := len(n) - 1
		for k := range n {
			b := Kind(last - k) // what blocks lie on is named first
			if b < loose || p.Uses[b] == 0 {
				continue
			}
			for a := range b {
				if p.Uses[a] > 0 {
					return n.Overlap(format, p, a, b)
				}
			}
			if p.Uses[b] > 1 {
				return n.Overlap(format, p, b, b)
			}
		}
		return nil
	}
}

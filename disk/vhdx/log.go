package vhdx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"instar/disk"
)

const (
	// Section 2.3: what the log is made of.
	logUnit        = 4 << 10
	logHeaderSize  = 64
	descriptorSize = 32
	leadingBytes   = 8
	dataBytes      = 4084

	// Bounds of this package: on the log, which is a MiB as Windows and QEMU
	// make it; on what is read to find the entries that count, in multiples of
	// the log; on runs of zeros.
	maxLog    = 64 << 20
	maxEffort = 8
	maxZeros  = 1024
)

// A logReader reads the log (section 2.3): a ring of entries, of which a
// sequence may wait to be replayed.
type logReader struct {
	file   disk.File
	id     guid
	start  int64
	length int64
	effort int64  // bytes that may still be read
	buf    []byte // the last entry read
	traces bool   // the log holds an entry of this id, valid or not
}

// A logEntry is the header of an entry (section 2.3.1.1).
type logEntry struct {
	at, length  int64 // in the log
	tail        int64 // where the sequence begins that the entry ends
	sequence    uint64
	descriptors int
	flushed     uint64 // how long the file must be
	last        uint64 // how long it is to be made
}

// readLog returns the file as it is when the log has been replayed: f itself
// when there is nothing to replay.
func readLog(f disk.File, h *header) (disk.File, error) {
	if h.logVersion != 0 {
		return nil, disk.Unsupportedf(formatName, "Unsupported VHDX log version %d", h.logVersion)
	}
	if h.log == (guid{}) || h.logLength == 0 {
		return f, nil
	}
	if h.logLength%mebibyte != 0 || h.logOffset < mebibyte || h.logOffset%mebibyte != 0 || h.logOffset > math.MaxInt64-maxLog {
		return nil, disk.Corruptf(formatName, "VHDX log at offset %d of %d bytes", h.logOffset, h.logLength)
	}
	if h.logLength > maxLog {
		return nil, disk.Unsupportedf(formatName, "VHDX log of %d bytes is too large to replay", h.logLength)
	}
	l := &logReader{file: f, id: h.log, start: h.logOffset, length: h.logLength, effort: maxEffort * h.logLength}
	entries, err := l.active()
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		if l.traces {
			return nil, disk.Corruptf(formatName, "VHDX log is damaged")
		}
		return f, nil // nothing was ever logged
	}
	return l.replay(entries)
}

// active returns the entries of the active sequence (section 2.3.3), the
// oldest first: of all valid sequences, the one with the newest entry.
func (l *logReader) active() (best []logEntry, err error) {
	for at := int64(0); at < l.length; {
		entries, err := l.sequence(at)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			at += logUnit
			continue
		}
		head := entries[len(entries)-1]
		tail := slices.IndexFunc(entries, func(e logEntry) bool { return e.at == head.tail })
		if tail < 0 {
			at += logUnit
			continue
		}
		if len(best) == 0 || head.sequence > best[len(best)-1].sequence {
			best = entries[tail:]
		}
		next := (head.at + head.length) % l.length
		if next <= at {
			break
		}
		at = next
	}
	return best, nil
}

// sequence returns the valid entries that follow one another from an offset of
// the log on.
func (l *logReader) sequence(at int64) (entries []logEntry, err error) {
	for total := int64(0); total < l.length; {
		e, ok, err := l.entry(at)
		if err != nil {
			return nil, err
		}
		if !ok || total+e.length > l.length || (len(entries) > 0 && e.sequence != entries[len(entries)-1].sequence+1) {
			break
		}
		entries = append(entries, e)
		total += e.length
		at = (at + e.length) % l.length
	}
	return entries, nil
}

// read fills p with what the ring has at an offset.
func (l *logReader) read(p []byte, at int64) error {
	if l.effort -= int64(len(p)); l.effort < 0 {
		return disk.Corruptf(formatName, "VHDX log is made to be searched without end")
	}
	n := min(int64(len(p)), l.length-at)
	if err := disk.ReadStored(l.file, p[:n], l.start+at); err != nil {
		return err
	}
	return disk.ReadStored(l.file, p[n:], l.start)
}

// entry reads the entry at an offset of the log into buf. ok is false when
// there is no valid one.
func (l *logReader) entry(at int64) (e logEntry, ok bool, err error) {
	var p [logHeaderSize]byte
	if err := l.read(p[:], at); err != nil {
		return e, false, err
	}
	le := binary.LittleEndian
	e = logEntry{
		at:       at,
		length:   int64(le.Uint32(p[8:])),
		tail:     int64(le.Uint32(p[12:])),
		sequence: le.Uint64(p[16:]),
		flushed:  le.Uint64(p[48:]),
		last:     le.Uint64(p[56:]),
	}
	if string(p[:4]) != "loge" || guid(p[32:]) != l.id {
		return e, false, nil
	}
	l.traces = true
	count := int64(le.Uint32(p[24:]))
	if e.length == 0 || e.length%logUnit != 0 || e.length > l.length || e.sequence == 0 ||
		logHeaderSize+count*descriptorSize > e.length {
		return e, false, nil
	}
	e.descriptors = int(count)
	l.buf = slices.Grow(l.buf[:0], int(e.length))[:e.length]
	if err := l.read(l.buf, at); err != nil {
		return e, false, err
	}
	return e, checked(l.buf, "loge") && l.consistent(e), nil
}

// consistent reports whether the descriptors and data sectors of the entry in
// buf are what they must be (sections 2.3.1.2 to 2.3.1.4).
func (l *logReader) consistent(e logEntry) bool {
	data := l.data(e)
	for k := range e.descriptors {
		d, le := l.descriptor(k), binary.LittleEndian
		at := le.Uint64(d[16:])
		if le.Uint64(d[24:]) != e.sequence || at%logUnit != 0 || at > math.MaxInt64-logUnit {
			return false
		}
		switch string(d[:4]) {
		case "zero":
			if n := le.Uint64(d[8:]); n%logUnit != 0 || n > math.MaxInt64-at {
				return false
			}
		case "desc":
			if len(data) < logUnit || string(data[:4]) != "data" ||
				le.Uint32(data[4:]) != uint32(e.sequence>>32) || le.Uint32(data[logUnit-4:]) != uint32(e.sequence) {
				return false
			}
			data = data[logUnit:]
		default:
			return false
		}
	}
	return true
}

func (l *logReader) descriptor(k int) []byte {
	return l.buf[logHeaderSize+k*descriptorSize:][:descriptorSize]
}

// data returns the data sectors of the entry in buf, which begin on a unit.
func (l *logReader) data(e logEntry) []byte {
	at := (logHeaderSize + e.descriptors*descriptorSize + logUnit - 1) &^ (logUnit - 1)
	return l.buf[min(at, len(l.buf)):]
}

// replay applies entries in memory.
func (l *logReader) replay(entries []logEntry) (disk.File, error) {
	size, err := l.file.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	head := entries[len(entries)-1]
	if head.flushed > uint64(max(size, 0)) || head.last > math.MaxInt64 {
		return nil, disk.Corruptf(formatName, "VHDX file of %d bytes has been truncated: its log expects %d", size, head.flushed)
	}
	r := &replayed{File: l.file, stored: size, size: max(size, int64(head.last)), pages: map[int64][]byte{}}
	l.effort = maxEffort * l.length
	for _, e := range entries {
		_, ok, err := l.entry(e.at)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, disk.Corruptf(formatName, "VHDX log changed while it was read")
		}
		if err := l.apply(r, e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// apply applies the entry in buf, which is consistent.
func (l *logReader) apply(r *replayed, e logEntry) error {
	le, data := binary.LittleEndian, l.data(e)
	for k := range e.descriptors {
		d := l.descriptor(k)
		at := int64(le.Uint64(d[16:]))
		if string(d[:4]) == "zero" {
			if err := r.zero(at, int64(le.Uint64(d[8:]))); err != nil {
				return err
			}
			continue
		}
		page := slices.Concat(d[8:8+leadingBytes], data[leadingBytes:leadingBytes+dataBytes], d[4:8])
		r.pages[at] = page
		data = data[logUnit:]
	}
	return nil
}

// A replayed is a file with changes that are not written to it: pages of
// logUnit bytes, and below these, runs of zeros.
type replayed struct {
	disk.File
	stored int64 // length of File
	size   int64
	pages  map[int64][]byte
	zeros  []region
}

func (r *replayed) Size() (int64, error) { return r.size, nil }

// zero has n bytes at an offset read as zeros.
func (r *replayed) zero(at, n int64) error {
	if len(r.zeros) == maxZeros {
		return disk.Unsupportedf(formatName, "VHDX log has more than %d runs of zeros to replay", maxZeros)
	}
	r.zeros = append(r.zeros, region{at, at + n})
	for page := range r.pages {
		if page >= at && page < at+n {
			delete(r.pages, page)
		}
	}
	return nil
}

// ReadAt reads the file as it would be. What lies behind its end is zeros.
func (r *replayed) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(r.size, p, off, func(p []byte, off int64) error {
		if err := disk.ReadStored(r.File, p, off); err != nil {
			return err
		}
		end := off + int64(len(p))
		for _, z := range r.zeros {
			if start, end := max(z.start, off), min(z.end, end); start < end {
				clear(p[start-off : end-off])
			}
		}
		for at := off &^ (logUnit - 1); at < end; at += logUnit {
			if page, ok := r.pages[at]; ok {
				from := max(at, off)
				copy(p[from-off:], page[from-at:])
			}
		}
		return nil
	})
}

// changes reports whether anything in [start, end) is not as in the file, or not
// in it.
func (r *replayed) changes(start, end int64) bool {
	if end > r.stored && end <= r.size {
		return true
	}
	for _, z := range r.zeros {
		if z.start < end && start < z.end {
			return true
		}
	}
	if (end-start)/logUnit > int64(len(r.pages)) {
		for at := range r.pages {
			if at < end && start < at+logUnit {
				return true
			}
		}
		return false
	}
	for at := start &^ (logUnit - 1); at < end; at += logUnit {
		if _, ok := r.pages[at]; ok {
			return true
		}
	}
	return false
}

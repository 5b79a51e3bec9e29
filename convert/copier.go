package convert

import (
	"context"
	"hash"
	"sync"

	"instar/disk"
)

// A copier has workers prepare pieces: read them, look for zeros, compress. They
// are placed in order, and then written. Nobody waits for a turn: whoever completes
// the order places and writes what others have left.
type copier struct {
	*plan
	writer     disk.Writer
	compressor disk.Compressor // nil stores content as it is
	encrypter  disk.Encrypter  // nil does not encrypt it
	hash       hash.Hash       // of what the output shows; nil is none
	target     disk.Target
	sparser    disk.SparseCopier // leaves zeros out of what it copies; nil is none
	unit       int64
	buffer     int64 // bytes of a piece that is read, at most: a unit at least
	block      int64 // in which zeros are looked for
	sparse     int64

	planning sync.Mutex // held while a piece is planned
	off      int64      // of the next piece
	number   int64

	placing sync.Mutex       // held while pieces are placed
	waiting map[int64]*piece // prepared, by number
	placed  int64            // number of the next one to be placed

	slots     chan struct{} // one for each piece in flight
	buffers   sync.Pool
	pacer     pacer
	copying   sync.Mutex // held while the kernel copies
	noOffload onceFlag
	noZero    onceFlag

	mu       sync.Mutex
	failed   int64 // number of the first piece that failed, when err is set
	err      error
	result   Result
	progress progress
}

// inFlight is how many pieces there are at a time: some for each worker to go on
// with while others wait to be placed.
func inFlight(workers int) int { return workers + 2 }

// run has workers take pieces and deal with them, until the end or a failure.
func (c *copier) run(ctx context.Context, workers int) error {
	c.buffer = max(bufferSize, c.unit)
	c.buffers.New = func() any { b := make([]byte, c.buffer); return &b }
	c.slots = make(chan struct{}, inFlight(workers))
	c.waiting = map[int64]*piece{}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { c.work(ctx) })
	}
	group.Wait()
	if c.err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.err
}

func (c *copier) work(ctx context.Context) {
	for {
		c.slots <- struct{}{}
		p := c.take(ctx)
		if p == nil {
			<-c.slots
			return
		}
		if !c.hasFailed(p.number) {
			p.err = c.prepare(p)
		}
		for _, p := range c.inOrder(p) {
			c.store(p)
		}
	}
}

// prepare does what can be done before it is known where a piece goes.
func (c *copier) prepare(p *piece) error {
	switch {
	case p.hole() && c.overlay && p.whole(disk.Unallocated):
		return c.readBelow(p)
	case p.hole() && (!c.dense || c.compressor == nil):
		return nil
	case p.whole(disk.Data) && (c.offloads() || c.sparser != nil):
		return nil
	}
	p.content = c.newBuffer(p)[:p.length]
	if err := read(p, p.content); err != nil {
		return err
	}
	p.runs = []run{{end: p.length}}
	if !c.dense && !(c.asIs() && p.whole(disk.Data)) {
		p.runs = c.zeros(p)
	}
	if c.compressor == nil {
		return nil
	}
	return c.compress(p)
}

// newBuffer returns a buffer that p has until it is done with.
func (c *copier) newBuffer(p *piece) []byte {
	b := c.buffers.Get().(*[]byte)
	p.buffers = append(p.buffers, b)
	return *b
}

// inOrder places a prepared piece, and those after it that have waited for it,
// and returns them. It returns none if p has to wait itself: for whoever prepares
// a piece before it.
func (c *copier) inOrder(p *piece) []*piece {
	c.placing.Lock()
	defer c.placing.Unlock()
	c.waiting[p.number] = p
	var placed []*piece
	for p := c.waiting[c.placed]; p != nil; p = c.waiting[c.placed] {
		delete(c.waiting, c.placed)
		if c.placed++; p.err == nil && !c.hasFailed(p.number) {
			p.err = c.place(p)
		}
		placed = append(placed, p)
	}
	return placed
}

// store writes a piece that has been placed, and gives back what it had.
func (c *copier) store(p *piece) {
	if p.err == nil && !c.hasFailed(p.number) {
		p.err = c.write(p)
	}
	for _, b := range p.buffers {
		c.buffers.Put(b)
	}
	if p.err != nil {
		c.fail(p.number, p.err)
	} else {
		c.done(p.length, p.result)
	}
	<-c.slots
}

// fail records the failure of a piece. That of the first piece is what counts.
func (c *copier) fail(number int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || number < c.failed {
		c.failed, c.err = number, err
	}
}

// hasFailed reports whether a piece before number has failed.
func (c *copier) hasFailed(number int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil && c.failed < number
}

func (c *copier) done(n int64, r Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Copied += r.Copied
	c.result.Offloaded += r.Offloaded
	c.result.Zeroed += r.Zeroed
	c.progress.add(n, c.size)
}

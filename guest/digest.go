package guest

import (
	"context"
	"crypto/sha256"
	"hash"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"instar/convert"
	"instar/disk"
	"instar/job"
)

// newHash returns the hash of that name; nil is that of no name.
func newHash(name job.Hash) (hash.Hash, error) {
	switch name {
	case "":
		return nil, nil
	case job.SHA256:
		return &breather{Hash: sha256.New()}, nil
	case job.BLAKE3:
		return &breather{Hash: blake3.New()}, nil
	case job.RunHash:
		return convert.NewRunHash(func() hash.Hash { return &breather{Hash: blake3.New()} }), nil
	}
	return nil, protocol("no hash %q", string(name))
}

// A breather makes a system call now and then: a hole of terabytes can be hashed
// for hours without one, and the microVM ends a thread that seems to hang.
type breather struct {
	hash.Hash
	held int // bytes since the last one
}

func (b *breather) Write(p []byte) (int, error) {
	if b.held += len(p); b.held >= 64<<20 {
		b.held = 0
		unix.Gettid()
	}
	return b.Hash.Write(p)
}

// sum answers with the digest of what a chain of layers shows. The passphrases
// are wiped once everything is open.
func (s *server) sum(x *job.Sum) (*job.Message, error) {
	d, err := s.chain(x.Input)
	wipeInputs([]job.Input{x.Input})
	if err != nil {
		return nil, err
	}
	h, err := newHash(x.Hash)
	if err != nil {
		return nil, err
	}
	if h == nil || x.Size < 0 || x.Size > d.Size() || x.Size%disk.SectorSize != 0 {
		return nil, protocol("the digest (%q) of %d bytes of %d", string(x.Hash), x.Size, d.Size())
	}
	if err := convert.Digest(context.Background(), d, x.Size, h, s.progress); err != nil {
		return nil, err
	}
	return &job.Message{Digest: &job.Digest{Sum: h.Sum(nil), Size: x.Size}}, nil
}

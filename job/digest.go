package job

import "fmt"

// A Hash is a way to compute the digest of the content of a virtual disk.
type Hash string

// The hashes, whose digests have DigestSize bytes.
const (
	SHA256 Hash = "sha256"
	BLAKE3 Hash = "blake3"
	// RunHash costs what is not zeros; it is for comparing, and nothing else
	// knows it.
	RunHash Hash = "runs"
)

// DigestSize is the length of a digest in bytes.
const DigestSize = 32

// ParseHash returns the hash of that name, of those that others know.
func ParseHash(name string) (Hash, error) {
	switch h := Hash(name); h {
	case SHA256, BLAKE3:
		return h, nil
	}
	return "", fmt.Errorf("no hash %q", name)
}

// A Sum asks for the digest of what a chain shows.
type Sum struct {
	Input Input `json:"input"`
	// Size is how much of it counts, in bytes: a multiple of 512.
	Size int64 `json:"size"`
	Hash Hash  `json:"hash"`
}

// A Digest is that of the first Size bytes of the content of a virtual disk.
type Digest struct {
	Sum  []byte `json:"sum"`
	Size int64  `json:"size"`
}

package cli

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/pflag"

	"instar/internal/safetext"
	"instar/internal/strerror"
	"instar/job"
)

// integrity are the flags that say how a copy is made sure of.
type integrity struct {
	digest digestValue
	verify bool
}

func (i *integrity) add(f *pflag.FlagSet) {
	f.Var(&i.digest, "digest", "print the digest of the content of the output, computed on the way: sha256 or blake3")
	f.BoolVar(&i.verify, "verify", false, "read the output back before it is put in place, and fail if its content is not what was written")
}

// hash returns what is to be computed on the way; "" is nothing.
func (i *integrity) hash() job.Hash {
	if i.digest.Hash == "" && i.verify {
		return job.RunHash // nobody sees it
	}
	return i.digest.Hash
}

// digestValue is the flag --digest.
type digestValue struct{ job.Hash }

func (v *digestValue) Set(s string) error {
	hash, err := job.ParseHash(s)
	if err != nil {
		return fmt.Errorf("invalid digest '%s' (%s or %s)", safetext.Escape(s), job.SHA256, job.BLAKE3)
	}
	v.Hash = hash
	return nil
}
func (v *digestValue) String() string { return string(v.Hash) }
func (v *digestValue) Type() string   { return "hash" }

// tellDigest prints the digest that was asked for, on a line of its own. It is
// of the content, and so is not in the form of sha256sum, which is of files.
func (c *copying) tellDigest(d *job.Digest) error {
	if c.integrity.digest.Hash == "" {
		return nil
	}
	_, err := fmt.Fprintf(c.stdout, "%s:%s\n", c.integrity.digest.Hash, hex.EncodeToString(d.Sum))
	if err != nil {
		return fmt.Errorf("%s is complete, but its digest could not be printed: %s", safetext.Escape(c.given()), strerror.Text(err))
	}
	return nil
}

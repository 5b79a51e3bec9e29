package cli

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"instar/internal/safetext"
	"instar/job"
)

// reproducible is the flag --reproducible of the commands that make an image.
type reproducible struct{ set bool }

func (r *reproducible) add(f *pflag.FlagSet) {
	f.BoolVar(&r.set, "reproducible", false, "derive ids from the size and the options, and fix times, so that equal input gives equal output (also with SOURCE_DATE_EPOCH)")
}

// epochVariable has the time that is to be taken for now, by the convention of
// reproducible-builds.org.
const epochVariable = "SOURCE_DATE_EPOCH"

// identify fills in what ids and times in an output of size bytes are made of.
// The other fields of o must be set.
func (p *program) identify(r reproducible, o *job.Output, size int64) error {
	text := p.getenv(epochVariable)
	if text == "" && !r.set {
		o.Time = time.Now().Unix()
		return randomSeed(o)
	}
	if text != "" {
		n, err := strconv.ParseUint(text, 10, 40)
		if err != nil {
			return fmt.Errorf("%s: not a number of seconds since 1970: '%s'", epochVariable, safetext.Escape(text))
		}
		o.Time = int64(n)
	}
	if len(o.Secret) > 0 && o.Old == nil { // its keys come from the seed
		if r.set {
			return errors.New("--reproducible cannot be used for an encrypted output: its keys have to be random")
		}
		return randomSeed(o)
	}
	o.Seed = fixedSeed(o, size)
	return nil
}

func randomSeed(o *job.Output) error {
	o.Seed = make([]byte, sha256.Size)
	_, err := rand.Read(o.Seed)
	return err
}

// fixedSeed depends on what the output is asked to be, and on nothing else.
func fixedSeed(o *job.Output, size int64) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %v %d", o.Format, size, o.Time, o.Compress, o.ClusterSize)
	for _, name := range slices.Sorted(maps.Keys(o.Options)) {
		fmt.Fprintf(h, " %q %q", name, o.Options[name])
	}
	return h.Sum(nil)
}

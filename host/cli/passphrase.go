package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"instar/host/chain"
	"instar/internal/safetext"
	"instar/internal/strerror"
	"instar/job"
)

// maxPassphrase bounds a passphrase in bytes: it has to travel to the worker in
// one message.
const maxPassphrase = 256 << 10

// passphraseFlags say where the passphrase of encrypted images comes from. It
// is never itself an argument, which every user of the machine could read.
type passphraseFlags struct {
	file string
	fd   fdValue
}

func (p *passphraseFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.file, "passphrase-file", "", "file with the passphrase of encrypted images; a newline at its end does not count")
	f.Var(&p.fd, "passphrase-fd", "number of an open descriptor to read the passphrase from")
}

// fdValue is a flag that takes the number of a descriptor.
type fdValue struct {
	n   int
	set bool
}

func (v *fdValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("invalid descriptor '%s'", safetext.Escape(s))
	}
	v.n, v.set = int(n), true
	return nil
}
func (v *fdValue) String() string { return "" }
func (v *fdValue) Type() string   { return "number" }

// read returns the passphrase that was given by a file, a descriptor or the
// environment, in this order; nil for none.
func (p *passphraseFlags) read(getenv func(string) string) ([]byte, error) {
	switch {
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %s: %s", safetext.Escape(p.file), strerror.Text(err))
		}
		defer f.Close()
		return readPassphrase(f, p.file)
	case p.fd.set:
		return readPassphrase(os.NewFile(uintptr(p.fd.n), ""), fmt.Sprintf("descriptor %d", p.fd.n))
	}
	if s := getenv("INSTAR_PASSPHRASE"); s != "" {
		return []byte(s), nil
	}
	return nil, nil
}

func readPassphrase(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPassphrase+1))
	switch b = bytes.TrimSuffix(b, []byte("\n")); {
	case err != nil:
		return nil, fmt.Errorf("read the passphrase: %s: %s", safetext.Escape(name), strerror.Text(err))
	case len(b) > maxPassphrase:
		return nil, fmt.Errorf("read the passphrase: %s: it is longer than %d bytes", safetext.Escape(name), maxPassphrase)
	case len(b) == 0:
		return nil, fmt.Errorf("read the passphrase: %s: it is empty", safetext.Escape(name))
	}
	return b, nil
}

// locked returns whether a chain cannot be read for want of a passphrase.
func locked(c *chain.Chain) bool {
	for _, l := range c.Layers {
		if l.Inspection.RefusedKind == job.ErrSecret {
			return true
		}
	}
	return false
}

// ask asks for the passphrase of an image at the terminal; nil if there is none.
func (r *runner) ask(ctx context.Context, i image) ([]byte, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, nil
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, nil
	}
	r.finishing.Lock()
	defer r.finishing.Unlock()
	// A progress bar may have begun on this line.
	fmt.Fprintf(tty, "\r\x1b[KPassphrase for %s: ", safetext.Escape(i.given))
	type reply struct {
		b   []byte
		err error
	}
	replies := make(chan reply, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		replies <- reply{b, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		fmt.Fprintln(tty)
		return nil, context.Cause(ctx)
	case reply := <-replies:
		fmt.Fprintln(tty)
		return reply.b, reply.err
	}
}

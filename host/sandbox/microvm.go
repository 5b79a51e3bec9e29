package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"instar/host/sandbox/kvm"
	"instar/internal/safetext"
)

// microVM is a worker in a microVM; the process is its VMM.
type microVM struct {
	*plain
	read, write *os.File // the pipe of the report
	done        chan struct{}
	report      kvm.Report
	err         error // why there is no report
}

func newMicroVM(o Options) ([]process, error) {
	if err := kvm.Check(o.Executable); err != nil {
		return nil, err
	}
	cmd, err := kvm.Command(o.Executable, kvm.Config{Memory: o.Memory})
	if err != nil {
		return nil, err
	}
	v := &microVM{plain: newPlain(cmd, o), done: make(chan struct{})}
	if v.read, v.write, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("make the pipe of the report: %w", err)
	}
	cmd.ExtraFiles = []*os.File{v.write}
	return []process{v}, nil
}

func (v *microVM) started() {
	v.write.Close()
	go func() {
		defer close(v.done)
		defer v.read.Close()
		v.report, v.err = kvm.ReadReport(v.read)
	}()
}

func (v *microVM) failed() {
	v.write.Close()
	v.read.Close()
}

func (v *microVM) explain(waitErr error) error {
	<-v.done
	if v.err != nil {
		// The VMM itself was ended, by its own lock or from outside.
		return crashed(waitErr, v.stderr.String(), v.memory)
	}
	err := v.report.Err()
	var unusable *kvm.UnusableError
	var guest *kvm.GuestError
	switch {
	case errors.As(err, &unusable):
		return err
	case errors.As(err, &guest):
		why := strings.TrimPrefix(guest.Message, "the worker ")
		return &CrashError{Why: safetext.Escape(safetext.Limit(why, maxText)), Log: safetext.Escape(string(guest.Log))}
	}
	return crashed(nil, "", v.memory)
}

// collect adds what the VMM reported.
func (v *microVM) collect(r *Report) {
	<-v.done
	if v.err != nil {
		return
	}
	k := &v.report
	add := func(name, format string, a ...any) {
		r.Stats = append(r.Stats, Stat{Name: name, Value: fmt.Sprintf(format, a...)})
	}
	r.Features = microVMFeatures(k)
	add("virtual processors", "%d", k.VCPUs)
	add("exits", "%d", k.Exits)
	add("system calls", "%s", callList(k.Calls))
	add("bytes read", "%d", k.Read)
	add("bytes written", "%d", k.Written)
	add("bytes offloaded", "%d", k.Offloaded)
	add("memory peak", "%d MiB", k.MemoryPeak>>20)
}

func microVMFeatures(k *kvm.Report) []Feature {
	hardware := Feature{Name: "hardware behind KVM"}
	if k.Emulated {
		hardware.Missing = "none: it works on page tables alone and isolates as well, but is slow to enter and leave"
		hardware.Hint = "--sandbox=jail may be faster here"
	}
	features := []Feature{hardware}
	for _, m := range k.Missing {
		features = append(features, Feature{Name: "microVM", Missing: safetext.Escape(m)})
	}
	return features
}

// callList returns the calls by how often they were made, most first.
func callList(calls map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(calls[b], calls[a]), strings.Compare(a, b))
	})
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", safetext.Escape(name), calls[name])
	}
	return b.String()
}

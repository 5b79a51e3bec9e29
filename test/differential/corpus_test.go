package differential

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/internal/program"
	"instar/internal/testutil"
)

// A specimen is an image of the corpus: how it is made, in its folder, and the
// format that info has to be told, if any.
type specimen struct {
	name   string
	steps  [][]string // qemu-img's arguments
	format string
}

const secretObject = "secret,id=s,data=abc"

// corpus returns how to make images of every format with every option that
// info tells anything about.
func corpus() []specimen {
	var list []specimen
	add := func(format, options, size string, steps ...[]string) {
		name := fmt.Sprintf("%03d.%s", len(list), format)
		args := []string{"create", "-q", "-f", format}
		if strings.Contains(options, "key-secret") {
			args = append(args, "--object", secretObject)
		}
		if options != "" {
			args = append(args, "-o", options)
		}
		s := specimen{name: name, steps: [][]string{append(args, name, size)}}
		for _, step := range steps {
			for k, arg := range step {
				if arg == "IMAGE" {
					step[k] = name
				}
			}
			s.steps = append(s.steps, step)
		}
		if format == "raw" || strings.Contains(options, "subformat=fixed") && format == "vpc" {
			s.format = format
		}
		list = append(list, s)
	}
	for _, size := range []string{"0", "512", "1000", "1M", "1T", "3G"} {
		for _, format := range []string{"raw", "qcow2", "vdi"} {
			add(format, "", size)
		}
	}
	for shift := 9; shift <= 21; shift++ {
		for _, compat := range []string{"0.10", "1.1"} {
			add("qcow2", fmt.Sprintf("cluster_size=%d,compat=%s", 1<<shift, compat), "10M")
		}
	}
	for _, options := range []string{
		"refcount_bits=1", "refcount_bits=2", "refcount_bits=4", "refcount_bits=8", "refcount_bits=32", "refcount_bits=64",
		"lazy_refcounts=on", "extended_l2=on", "extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M",
		"compression_type=zstd", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
		"lazy_refcounts=on,refcount_bits=8,cluster_size=4k,compression_type=zstd",
		"backing_file=base.raw,backing_fmt=raw", "backing_file=base.qcow2,backing_fmt=qcow2",
		"backing_file=below/base.raw,backing_fmt=raw", "backing_file=./base.raw,backing_fmt=raw,compat=0.10",
		"data_file=data1,data_file_raw=on", "data_file=data2",
		"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
		"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha1",
		"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
		"encrypt.format=aes,encrypt.key-secret=s",
	} {
		add("qcow2", options, "2M")
	}
	snapshot := func(name string) []string { return []string{"snapshot", "-c", name, "IMAGE"} }
	bitmap := func(name string, more ...string) []string {
		return append(append([]string{"bitmap", "--add"}, more...), "IMAGE", name)
	}
	for _, compat := range []string{"0.10", "1.1"} {
		add("qcow2", "compat="+compat, "1M", snapshot("one"))
		add("qcow2", "compat="+compat, "64M", snapshot("one"), snapshot("two"), snapshot("a much longer name"))
	}
	add("qcow2", "", "1M", bitmap("b"))
	add("qcow2", "", "1M", bitmap("b", "-g", "32k"), bitmap("c", "--disable"))
	add("qcow2", "", "1M", bitmap("b"), snapshot("s"), bitmap("d", "-g", "1M"))

	for _, subformat := range []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"} {
		for _, options := range []string{"", ",adapter_type=lsilogic", ",adapter_type=legacyESX", ",hwversion=6", ",toolsversion=9"} {
			add("vmdk", "subformat="+subformat+options, "3M")
		}
	}
	add("vmdk", "zeroed_grain=on", "3M")
	add("vmdk", "compat6=on", "3M")
	add("vmdk", "backing_file=base.vmdk,backing_fmt=vmdk", "1M")
	add("vmdk", "", "10G")
	for _, size := range []string{"1", "1M", "127M", "1G", "200G"} {
		for _, options := range []string{"subformat=dynamic", "subformat=fixed", "force_size=on"} {
			add("vpc", options, size)
		}
	}
	for _, block := range []string{"1M", "2M", "8M", "32M", "256M"} {
		for _, options := range []string{"", ",subformat=fixed", ",log_size=4M"} {
			add("vhdx", "block_size="+block+options, "10M")
		}
	}
	for _, size := range []string{"1G", "101G", "33T"} {
		add("vhdx", "", size)
	}
	add("vdi", "static=on", "3M")
	for _, size := range []string{"512", "1M", "9G"} {
		add("qcow", "", size)
	}
	add("qcow", "backing_file=base.raw,backing_fmt=raw", "1M")
	for _, options := range []string{"", "cluster_size=64k", "cluster_size=2M"} {
		for _, size := range []string{"1M", "1G"} {
			add("parallels", options, size)
		}
	}
	for _, options := range []string{
		"", ",cipher-alg=aes-128", ",cipher-mode=cbc,ivgen-alg=plain64", ",cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
		",hash-alg=sha1", ",hash-alg=sha512", ",cipher-mode=cbc,ivgen-alg=plain", ",hash-alg=sha512,cipher-alg=aes-128",
	} {
		add("luks", "key-secret=s,iter-time=10"+options, "1M")
	}
	return list
}

// info says the same as qemu-img of a corpus of images, field for field; what it
// says besides is left out here. With --strict it lets all of them pass that stand
// for themselves.
func TestInfoOfCorpus(t *testing.T) {
	t.Parallel()
	qemu := testutil.QemuImg(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	make := func(args []string) error {
		for try := 1; ; try++ {
			c := exec.Command(qemu, args...)
			c.Dir = dir
			out, err := c.CombinedOutput()
			if err == nil {
				return nil
			}
			if try == testutil.MaxTries || !testutil.Unlucky(string(out)) {
				return fmt.Errorf("qemu-img %q: %v\n%s", args, err, out)
			}
		}
	}
	for _, args := range [][]string{
		{"create", "-q", "-f", "raw", "base.raw", "1M"},
		{"create", "-q", "-f", "raw", "below/base.raw", "1M"},
		{"create", "-q", "-f", "qcow2", "base.qcow2", "1M"},
		{"create", "-q", "-f", "vmdk", "base.vmdk", "1M"},
	} {
		if err := make(args); err != nil {
			t.Fatal(err)
		}
	}
	specimens := corpus()
	if len(specimens) < 150 {
		t.Errorf("the corpus has %d images", len(specimens))
	}
	var wg sync.WaitGroup
	free := newSemaphore(runtime.NumCPU())
	for _, s := range specimens {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			for _, step := range s.steps {
				if err := make(step); err != nil {
					t.Error(err)
					return
				}
			}
			args := []string{"info", "--output=json"}
			if s.format != "" {
				args = append(args, "-f", s.format)
			}
			args = append(args, s.name)
			theirs := program.Run(t, dir, nil, qemu, args...)
			ours := program.Run(t, dir, []string{"INSTAR_SANDBOX=jail"}, program.AsQemuImg(), append(args, "--strict")...)
			refers := strings.Contains(ours.Stderr, "refers to something outside itself: ") && strings.Contains(ours.Stdout, `"self-contained": false`)
			locked := strings.Contains(ours.Stderr, "cannot be checked: ") && strings.Contains(ours.Stdout, `"encrypted": true`)
			if theirs.Code != 0 || ours.Code != 0 && !refers && !locked {
				t.Errorf("%q: exit codes %d, %d: %s%s", s.steps[0], ours.Code, theirs.Code, ours.Stderr, theirs.Stderr)
				return
			}
			if diff := compareInfo(theirs.Stdout, ours.Stdout); diff != "" {
				t.Errorf("%q (- qemu-img, + instar):\n%s", s.steps, diff)
			}
		})
	}
	wg.Wait()
}

func newSemaphore(n int) chan struct{} { return make(chan struct{}, n) }

// compareInfo compares what the programs say in JSON.
func compareInfo(theirs, ours string) string {
	var want, got map[string]any
	if err := json.Unmarshal([]byte(theirs), &want); err != nil {
		return err.Error()
	}
	if err := json.Unmarshal([]byte(ours), &got); err != nil {
		return err.Error() + "\n" + ours
	}
	for _, key := range []string{"children", "safety"} {
		if _, ok := got[key]; !ok {
			return key + " is missing"
		}
		delete(got, key)
	}
	return cmp.Diff(want, got)
}

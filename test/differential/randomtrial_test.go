package differential

import (
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRandomTrials compares random command lines over random images. Trial k
// of a run has the seed INSTAR_SEED+k, so that each can be repeated alone; what
// differs is printed as small as it could be made (see testdata/reproducers).
func TestRandomTrials(t *testing.T) {
	t.Parallel()
	seed, rounds := number(t, "INSTAR_SEED", 20), number(t, "INSTAR_ROUNDS", 60)
	t.Logf("INSTAR_SEED=%d INSTAR_ROUNDS=%d", seed, rounds)
	const workers = 2
	var made, differed atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d trials, %d of them differ; the images of %d could not be made", rounds, differed.Load(), rounds-made.Load())
		if made.Load() < rounds*9/10 {
			t.Error("too few images could be made")
		}
	})
	for worker := range int64(workers) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for round := worker; round < rounds; round += workers {
				t.Run(fmt.Sprint(seed+round), func(t *testing.T) {
					switch v := tryOne(t, dir, seed+round); v.kind {
					case notMade:
					case "":
						made.Add(1)
					default:
						made.Add(1)
						differed.Add(1)
					}
				})
			}
		})
	}
}

// notMade is of a trial whose images qemu-img or qemu-io has refused to make.
const notMade = "not made"

func tryOne(t *testing.T, dir string, seed int64) verdict {
	t.Helper()
	c := randomTrial(rand.New(rand.NewSource(seed)))
	env := []string{"INSTAR_SANDBOX=" + [...]string{"auto", "jail"}[seed&1]}
	v, made := c.run(t, dir, env)
	if !made {
		return verdict{notMade, ""}
	}
	if v.kind == "" {
		return v
	}
	least := v
	small := c.shrink(func(c trial) bool {
		other, made := c.run(t, dir, env)
		if !made || other.kind != v.kind {
			return false
		}
		least = other
		return true
	})
	t.Errorf("INSTAR_SEED=%d INSTAR_ROUNDS=1\n%s\n%s\n%s\nat first: %s", seed, v, small, least, quote(c.line))
	return v
}

// dice draw what trials are made of.
type dice struct{ *rand.Rand }

func (d dice) one(in int) bool { return d.Intn(in) == 0 }

func (d dice) pick(list ...string) string { return list[d.Intn(len(list))] }

// imageOptions are options by format of which a random image has some.
var imageOptions = map[string][]string{
	"qcow2": {
		"cluster_size=512", "cluster_size=1k", "cluster_size=4k", "cluster_size=2M", "compat=0.10", "extended_l2=on",
		"refcount_bits=1", "refcount_bits=64", "lazy_refcounts=on", "preallocation=metadata", "preallocation=falloc",
		"compression_type=zstd",
	},
	"vmdk": {
		"subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse", "subformat=twoGbMaxExtentFlat", "subformat=streamOptimized",
		"adapter_type=lsilogic", "zeroed_grain=on", "compat6=on", "hwversion=10",
	},
	"vpc":       {"subformat=fixed", "force_size=on"},
	"vhdx":      {"block_size=1M", "block_size=2M", "subformat=fixed", "block_state_zero=off", "log_size=2M"},
	"vdi":       {"static=on", "preallocation=metadata"},
	"qed":       {"cluster_size=4k", "cluster_size=1M", "table_size=2", "table_size=8"},
	"parallels": {"cluster_size=64k", "cluster_size=4k", "cluster_size=2M"},
	"raw":       {"preallocation=falloc", "preallocation=full"},
}

// options draws options of a format that go together, as -o has them.
func (d dice) options(format string) []string {
	var chosen []string
	taken := map[string]bool{}
	for range d.Intn(4) {
		list := imageOptions[format]
		if len(list) == 0 {
			break
		}
		option := d.pick(list...)
		if key, _, _ := strings.Cut(option, "="); !taken[key] {
			taken[key] = true
			chosen = append(chosen, option)
		}
	}
	all := strings.Join(chosen, ",")
	drop := func(with string, options ...string) {
		if strings.Contains(all, with) {
			chosen = slices.DeleteFunc(chosen, func(o string) bool {
				return slices.ContainsFunc(options, func(key string) bool { return strings.HasPrefix(o, key) })
			})
		}
	}
	drop("compat=0.10", "extended_l2", "refcount_bits", "lazy", "compression")
	drop("extended_l2", "cluster_size=512", "cluster_size=1k", "cluster_size=4k")
	drop("compat6", "hwversion")
	drop("Flat", "zeroed_grain")
	drop("static=on", "preallocation")
	return chosen
}

// images draws an image, or a chain of them, and returns how it is made, the
// names from the base up, and the virtual size.
func (d dice) images() (setup [][]string, names []string, size int64) {
	formats := []string{"qcow2", "qcow2", "qcow2", "qcow2", "raw", "raw", "vmdk", "vmdk", "vpc", "vhdx", "vdi", "qcow", "qed", "parallels"}
	layers := 1
	if d.one(3) {
		layers = 2 + d.Intn(2)
	}
	for layer := range layers {
		format := d.pick(formats...)
		if layer > 0 {
			if format = d.pick("qcow2", "qcow2", "qcow2", "qed", "qcow"); strings.HasSuffix(names[layer-1], "vmdk") && d.one(2) {
				format = "vmdk"
			}
		}
		name := fmt.Sprintf("%c.%s", 'a'+layer, format)
		size = d.size(format)
		options := d.options(format)
		if layer > 0 { // what does not go with a backing file
			options = slices.DeleteFunc(options, func(o string) bool {
				return strings.HasPrefix(o, "preallocation") || strings.Contains(o, "Flat") || strings.Contains(o, "streamOptimized")
			})
		}
		args := []string{"qemu-img", "create", "-q", "-f", format}
		if len(options) > 0 {
			args = append(args, "-o", strings.Join(options, ","))
		}
		if layer > 0 {
			below := names[layer-1]
			args = append(args, "-b", below, "-F", below[2:])
		}
		setup = append(setup, append(args, name, fmt.Sprint(size)))
		if !slices.Contains(options, "subformat=streamOptimized") { // qemu-io writes none
			setup = append(setup, d.writes(format, name, size, options)...)
		}
		names = append(names, name)
	}
	return setup, names, size
}

func (d dice) size(format string) int64 {
	const sector = 512
	var sectors int64
	switch d.Intn(4) {
	case 0:
		sectors = 1 + d.Int63n(20)
	case 1:
		sectors = (1 + d.Int63n(16)) * 128 // of 64 KiB
	default:
		sectors = 1 + d.Int63n(6000)
	}
	if format == "raw" && d.one(3) {
		return sectors*sector - d.Int63n(sector)
	}
	return sectors * sector
}

// writes draws what is stored in an image, and where.
func (d dice) writes(format, name string, size int64, options []string) (setup [][]string) {
	args := []string{"qemu-io", "-f", format}
	flush := func() {
		if len(args) > 3 {
			setup = append(setup, append(args, name))
			args = args[:3:3]
		}
	}
	for k := range d.Intn(8) {
		off := d.Int63n(size)
		n := 1 + d.Int63n(min(size-off, 1+d.Int63n(300_000)))
		if !d.one(3) {
			off, n = off&^511, n&^511
			if n == 0 {
				n = min(512, size-off)
			}
		}
		if d.one(4) { // to the end
			off = size - n
		}
		how := fmt.Sprintf("write -P %d", 1+k)
		switch d.Intn(6) {
		case 0:
			how = "write -P 0"
		case 1:
			how, off, n = "write -s noise", off&^511, n&^511
			n = min(max(n, 512), size-off)
		case 2:
			if format == "qcow2" || format == "raw" || format == "qed" {
				how = d.pick("write -z", "write -zu", "discard")
			}
		case 3:
			const cluster = 64 * kib // the default one
			if format == "qcow2" && !strings.Contains(strings.Join(options, ","), "cluster_size") && size >= cluster {
				how, off, n = "write -c -s noise", d.Int63n(size/cluster)*cluster, cluster
			}
		}
		args = append(args, "-c", fmt.Sprintf("%s %d %d", how, off, n))
		if format == "qcow2" && !slices.Contains(options, "refcount_bits=1") && d.one(12) {
			flush()
			setup = append(setup, []string{"qemu-img", "snapshot", "-c", fmt.Sprintf("s%d", k), name})
		}
	}
	flush()
	return setup
}

// randomTrial draws a trial.
func randomTrial(random *rand.Rand) trial {
	d := dice{random}
	setup, names, size := d.images()
	c := trial{setup: setup}
	top := names[len(names)-1]
	if d.one(6) { // compressed
		to := d.pick("qcow2", "qcow2", "qcow2", "vmdk")
		name := "z." + to
		args := []string{"qemu-img", "convert", "-c", "-f", top[2:], "-O", to}
		switch to {
		case "vmdk":
			args = append(args, "-o", "subformat=streamOptimized")
		case "qcow2":
			args = append(args, "-o", d.pick("compression_type=zstd", "compression_type=zlib", "cluster_size=512", "cluster_size=4k", "cluster_size=2M"))
		}
		c.setup = append(c.setup, append(args, top, name))
		top, names = name, []string{name}
	}
	switch d.Intn(12) {
	case 0:
		c.line = d.info(top)
	case 1:
		c.comparison(d, top)
	case 2:
		c.line = d.create(names)
	case 3, 4, 5:
		c.line = d.dd(top)
	default:
		c.conversion(d, names, top, size)
	}
	return c
}

// reading draws the flags by which an image is named as the input.
func (d dice) reading(name string) []string {
	format := name[2:]
	switch {
	case d.one(12):
		return []string{"-f", d.pick("raw", "raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi", "qcow", "qed", "parallels", "bogus")}
	case d.one(2):
		return []string{"-f", format}
	default:
		return nil
	}
}

func (d dice) info(top string) []string {
	args := append([]string{"info"}, d.reading(top)...)
	for _, flag := range []string{"--output=json", "--backing-chain", "-U"} {
		if d.one(3) {
			args = append(args, flag)
		}
	}
	return append(args, top)
}

// comparison compares the top image with a copy that may have been changed.
func (c *trial) comparison(d dice, top string) {
	const other = "other.raw"
	c.setup = append(c.setup, []string{"qemu-img", "convert", "-f", top[2:], top, other})
	if d.one(2) {
		c.setup = append(c.setup, []string{"qemu-io", "-f", "raw", "-c", fmt.Sprintf("write -P %d %d 512", d.Intn(3), d.Intn(40)*512), other})
	}
	switch d.Intn(4) {
	case 0:
		c.setup = append(c.setup, []string{"qemu-img", "resize", "-q", "-f", "raw", other, fmt.Sprintf("+%d", (1+d.Intn(100))*512)})
	case 1:
		c.setup = append(c.setup, []string{"qemu-img", "resize", "-q", "-f", "raw", "--shrink", other, "512"})
	}
	c.line = append([]string{"compare"}, d.reading(top)...)
	if d.one(2) {
		c.line = append(c.line, "-F", "raw")
	}
	for _, flag := range []string{"-q", "-U"} { // for -s see docs/divergences.md
		if d.one(4) {
			c.line = append(c.line, flag)
		}
	}
	c.line = append(c.line, top, other)
}

func (d dice) create(names []string) []string {
	format := d.outputFormat()
	args := []string{"create", "-f", format}
	if d.one(3) {
		args = append(args, "-q")
	}
	if options := d.outputOptions(format, "create"); len(options) > 0 {
		args = append(args, options...)
	}
	if d.one(3) {
		below := names[0]
		args = append(args, "-b", below)
		if !d.one(4) {
			args = append(args, "-F", below[2:])
		}
		if d.one(2) {
			return append(args, "out")
		}
	}
	sizes := []string{"512", "1000", "1M", "3000k", "100M", "5G", "1.5M", "bogus", "-1"}
	if format != "vmdk" { // which nothing opens
		sizes = append(sizes, "0")
	}
	size := d.pick(sizes...)
	if all := strings.Join(args, " "); size == "5G" && (strings.Contains(all, "full") || strings.Contains(all, "static")) {
		size = "20M" // it is written
	}
	return append(args, "out", size)
}

func (d dice) outputFormat() string {
	format := d.pick("qcow2", "qcow2", "qcow2", "qcow2", "raw", "raw", "vmdk", "vmdk", "vmdk", "vpc", "vpc", "vhdx", "vdi", "qcow", "qed", "parallels", "luks")
	if format == "luks" && !d.one(4) { // qemu-img measures for seconds how long a key derivation takes
		return "qcow2"
	}
	return format
}

// outputOptions draws -o of an output, with the secret that it may need.
func (d dice) outputOptions(format, verb string) (args []string) {
	options := d.options(format)
	switch format {
	case "luks":
		options = []string{"key-secret=s", "iter-time=10"}
		args = append(args, secretFlag...)
	case "qcow2":
		switch d.Intn(12) {
		case 0:
			if !d.one(3) { // see outputFormat
				break
			}
			options = append(options, "encrypt.format=luks", "encrypt.key-secret=s", "encrypt.iter-time=10")
			args = append(args, secretFlag...)
		case 1:
			if options = append(options, "data_file=out-data"); d.one(2) {
				options = append(options, "data_file_raw=on")
			}
		case 2:
			options = append(options, "preallocation=full")
		}
	}
	if d.one(15) { // one that may be wrong
		options = append(options, d.pick(imageOptions[d.pick("qcow2", "vmdk", "vpc", "vhdx", "vdi", "qed", "parallels", "raw")]...))
	}
	if len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	return args
}

func (d dice) dd(top string) []string {
	args := append([]string{"dd"}, d.reading(top)...)
	format := d.outputFormat()
	if d.one(5) {
		args = append(args, "-U")
	}
	args = append(args, "-O", format)
	operands := randomOperands(d.Rand)
	if top[0] == 'z' { // a cluster of which is decompressed for each block
		for k, o := range operands {
			if n, err := strconv.Atoi(strings.TrimPrefix(o, "bs=")); err == nil {
				operands[k] = fmt.Sprintf("bs=%d", min(n+4*kib, 1<<31-1))
			}
		}
	}
	return append(append(args, "if="+top, "of=out"), operands...)
}

// conversion draws convert with its options.
func (c *trial) conversion(d dice, names []string, top string, size int64) {
	format := d.outputFormat()
	args := append([]string{"convert"}, d.reading(top)...)
	out := "out"
	existing := d.one(6)
	if existing {
		args = append(args, "-n")
		if format == "luks" || d.one(6) {
			args = append(args, "--target-image-opts")
			out = "driver=" + format + ",file.filename=out"
		} else {
			args = append(args, "-O", format)
		}
		if format == "luks" {
			args = append(args, secretFlag...)
			out += ",key-secret=s"
		}
		if made := d.existing(format, size); d.one(4) {
			c.setup = append(c.setup, made[0])
			args = append(args, "--target-is-zero")
		} else {
			c.setup = append(c.setup, made...)
		}
	} else {
		args = append(args, "-O", format)
		args = append(args, d.outputOptions(format, "convert")...)
	}
	for _, flags := range [][]string{
		{"-c"},
		{"-q"},
		{"-W"},
		{"-U"},
		{"-m", fmt.Sprint(1 + d.Intn(16))},
		{"-S", d.pick("0", "0", "512", "4k", "64k", "1M", "100")},
		{"-t", d.pick("none", "writeback", "unsafe", "writethrough", "directsync")},
		{"-T", d.pick("none", "writeback", "unsafe", "directsync")},
		{"-r", "1G"},
		{"-C"},
		{"--salvage"},
		{"--target-is-zero"},
		{"--bitmaps"},
	} {
		rare := 8
		if strings.HasPrefix(flags[0], "--") {
			rare = 30
		}
		switch {
		case flags[0] == "-c" && format == "qcow": // qemu-img 7.2 fails, and does not say why
		case !d.one(rare):
		case flags[0] == "--target-is-zero" && existing && format != "raw" && format != "luks": // it may not be: ours has no use for what is there
		default:
			args = append(args, flags...)
		}
	}
	if snapshot := c.snapshot(top); snapshot != "" && d.one(2) {
		args = append(args, "-l", snapshot)
	}
	if len(names) > 1 && !slices.Contains(args, "--target-is-zero") && d.one(4) {
		below := names[len(names)-2]
		args = append(args, "-B", below, "-F", below[2:])
	}
	inputs := []string{top}
	if d.one(8) {
		inputs = append(inputs, names[0])
	}
	if d.one(10) {
		args = append(args, "--image-opts")
		for k, name := range inputs {
			inputs[k] = "driver=" + name[2:] + ",file.filename=" + name
		}
	}
	c.line = append(append(args, inputs...), out)
}

// snapshot returns the name of a snapshot of an image, or "".
func (c *trial) snapshot(name string) string {
	for _, args := range c.setup {
		if args[1] == "snapshot" && args[len(args)-1] == name {
			return args[3]
		}
	}
	return ""
}

// existing makes an output that is there already.
func (d dice) existing(format string, size int64) [][]string {
	size = max(512, size+(d.Int63n(5)-1)*32768)
	args := []string{"qemu-img", "create", "-q", "-f", format}
	options := d.options(format)
	if format == "luks" {
		options = []string{"key-secret=s", "iter-time=10"}
		args = append(args, secretFlag...)
	}
	if len(options) > 0 && (format == "luks" || d.one(2)) {
		args = append(args, "-o", strings.Join(options, ","))
	}
	made := [][]string{append(args, "out", fmt.Sprint(size))}
	if strings.Contains(strings.Join(args, " "), "streamOptimized") { // qemu-io writes none
		return made
	}
	write := fmt.Sprintf("write -P 255 %d 512", d.Int63n(size)&^511)
	if format == "luks" {
		args = append([]string{"qemu-io"}, secretFlag...)
		return append(made, append(args, "-c", write, "--image-opts", "driver=luks,key-secret=s,file.filename=out"))
	}
	return append(made, []string{"qemu-io", "-f", format, "-c", write, "out"})
}

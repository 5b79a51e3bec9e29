package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A row is one piece of work and everybody who is measured at it. The first
// contender is the program behind the wall that it chooses by itself, which the
// others are compared with.
type row struct {
	title      string
	note       string // what to know about it; or ""
	dir        string // where it runs; "" is the folder of the inputs
	contenders []contender
	output     string // format of the outputs, which have to have equal content; "" is none
	reference  string // input with that content; "" is the first contender's output
	rounds     int
	most       float64 // milliseconds that the first may take; 0 is any
	missing    string  // why the row cannot be measured; or ""
}

// A contender is a program with its arguments.
type contender struct {
	name    string
	argv    []string
	atLeast float64 // its time over the first's; 0 is any
	grows   float64 // how much larger than its output the first's may be, as a factor; 0 is any
}

// ourselves is how much of the speed without a wall is to be left behind one.
const ourselves = 0.9

// rows returns everything that is measured.
func rows(o options) []row {
	quarter := " (a quarter of the size)"
	rows := []row{
		ddRow(o, "dd raw → raw, default bs"+quarter, quarterImage, "", 60, 0),
		ddRow(o, "dd raw → raw, bs=64k", rawImage, "bs=64k", 0, 0),
		ddRow(o, "dd raw → raw, bs=1M", rawImage, "bs=1M", 2.5, 1.2),
		ddRow(o, "dd qcow2 → raw, bs=1M", qcow2Image, "bs=1M", 2.5, 0),
		readRow(o, "convert raw → raw", rawImage, 0, 0, 0),
		readRow(o, "convert a half-empty raw → raw", halfImage, 0, 0, 0),
		readRow(o, "convert qcow2 → raw", qcow2Image, 0, 1.5, 1.5),
		readRow(o, "convert vmdk → raw", vmdkImage, 0, 0, 0),
		readRow(o, "convert vpc → raw", vpcImage, 0, 0, 0),
		readRow(o, "convert vhdx → raw", vhdxImage, 0, 0, 0),
		readRow(o, "convert qcow2 (zlib) → raw", zlibImage, 2.2, 1.8, 0),
		readRow(o, "convert qcow2 (zstd) → raw", zstdImage, 0, 1.5, 0),
		readRow(o, "convert vmdk (streamOptimized) → raw", streamImage, 0, 0, 0),
		readRow(o, "convert a chain of three overlays → raw", chainImage, 0, 0, 0),
		readRow(o, "convert sparse qcow2 (64 times the size, a tenth of the size stored) → raw", sparseImage, 2, 0, 0),
	}
	for _, format := range []string{"qcow2", "vmdk", "vpc", "vhdx"} {
		rows = append(rows, writeRow(o, "convert raw → "+format, rawImage, format, nil, false, peers{oob: 1.5}))
	}
	small := peers{oob: 3, grows: 1.07}
	rows = append(rows,
		writeRow(o, "convert raw → qcow2 -c"+quarter, quarterImage, "qcow2", nil, true, small),
		writeRow(o, "convert raw → qcow2 -c, "+bestLevel+quarter, quarterImage, "qcow2", nil, true, peers{oob: 2, grows: 1.02, level: bestLevel}),
		writeRow(o, "convert raw → qcow2 -c, zstd"+quarter, quarterImage, "qcow2", []string{"-o", "compression_type=zstd"}, true, peers{oob: 1.2, grows: 1.02}),
		writeRow(o, "convert raw → vmdk (streamOptimized)"+quarter, quarterImage, "vmdk", []string{"-o", "subformat=streamOptimized"}, false, peers{plain: 3}),
	)
	return append(rows, startRow(o))
}

// bestLevel asks for the level of compression whose output is at most 2 %
// larger than qemu-img's.
const bestLevel = "--compression-level=best"

// walled returns the program behind the wall that it chooses, and without one.
func walled(o options, verb string, args ...string) []contender {
	return []contender{
		{name: "instar", argv: append([]string{o.instar, verb}, args...)},
		{name: "instar --sandbox=none", argv: append([]string{o.instar, verb, "--sandbox=none"}, args...), atLeast: ourselves},
	}
}

// ddRow is a dd by everybody. Both dds put what they wrote on the disk before
// they end, so cp is followed by a sync of its file.
func ddRow(o options, title, in, operands string, qemu, cp float64) row {
	args := append(strings.Fields(operands), "if="+in, "of="+outputFile)
	r := row{title: title, output: "raw", rounds: o.rounds, contenders: walled(o, "dd", args...)}
	r.contenders = append(r.contenders, contender{
		name: strings.TrimSpace("qemu-img dd " + operands), argv: append([]string{"qemu-img", "dd"}, args...), atLeast: qemu,
	})
	if format(in) == "raw" {
		script := "cp --sparse=never --reflink=never " + in + " " + outputFile + " && sync -d " + outputFile
		r.contenders = append(r.contenders, contender{name: "cp, sync -d", argv: shell(script), atLeast: cp})
	}
	return r
}

func shell(script string) []string { return []string{"sh", "-c", script} }

// readRow is a conversion to raw.
func readRow(o options, title, in string, plain, oob, nbd float64) row {
	args := []string{"-O", "raw", in, outputFile}
	r := row{title: title, output: "raw", rounds: o.rounds, contenders: walled(o, "convert", args...)}
	if in == sparseImage {
		r.reference = in // all of it is too much to read
	}
	r.contenders = append(
		r.contenders,
		contender{name: "qemu-img convert", argv: append([]string{"qemu-img", "convert"}, args...), atLeast: plain},
		contender{name: "qemu-img convert -W -m 16", argv: append([]string{"qemu-img", "convert", "-W", "-m", "16"}, args...), atLeast: oob},
	)
	if _, err := exec.LookPath("nbdcopy"); err == nil && (nbd > 0 || format(in) == "raw") {
		server := serve(in)
		r.contenders = append(r.contenders, contender{
			name: "nbdcopy of " + server[0], atLeast: nbd,
			argv: shell("truncate -s 0 " + outputFile + " && nbdcopy -- [ " + strings.Join(server, " ") + " ] " + outputFile),
		})
	}
	if name, line, ok := strings.Cut(o.peer, "="); ok {
		line = strings.NewReplacer("{in}", in, "{out}", outputFile).Replace(line)
		r.contenders = append(r.contenders, contender{name: name, argv: shell(line)})
	}
	return r
}

// serve returns the command line of an NBD server of an image. This nbdkit
// reads no format, qemu-nbd does.
func serve(in string) []string {
	if _, err := exec.LookPath("nbdkit"); err == nil && format(in) == "raw" {
		return []string{"nbdkit", "--exit-with-parent", "file", in}
	}
	return []string{"qemu-nbd", "-r", "-f", format(in), in}
}

// peers says what a conversion to a format has to reach.
type peers struct {
	plain, oob, grows float64
	level             string // a flag for the program; or ""
}

// writeRow is a conversion of raw to a format.
func writeRow(o options, title, in, format string, options []string, compress bool, want peers) row {
	args := append([]string{"-f", "raw", "-O", format}, options...)
	if compress {
		args = append(args, "-c")
	}
	args = append(args, in, outputFile)
	ours := args
	if want.level != "" {
		ours = append([]string{want.level}, args...)
	}
	r := row{title: title, output: format, reference: in, rounds: o.rounds, contenders: walled(o, "convert", ours...)}
	r.missing = refused(o, ours[:len(ours)-2])
	plain := contender{name: "qemu-img convert", argv: append([]string{"qemu-img", "convert"}, args...), atLeast: want.plain}
	if !compress {
		r.contenders = append(r.contenders, plain)
	}
	if want.oob > 0 {
		r.contenders = append(r.contenders, contender{
			name: "qemu-img convert -W -m 16", argv: append([]string{"qemu-img", "convert", "-W", "-m", "16"}, args...),
			atLeast: want.oob, grows: want.grows,
		})
	}
	return r
}

// refused says why the program cannot do a conversion with these arguments yet;
// "" if it can.
func refused(o options, args []string) string {
	probe := filepath.Join(o.data, "probe")
	defer os.Remove(probe)
	argv := slices.Concat([]string{"convert"}, args, []string{quarterImage, probe})
	cmd := exec.Command(o.instar, argv...)
	cmd.Dir = o.data
	out, err := cmd.CombinedOutput()
	text, _, _ := strings.Cut(string(out), "\n")
	if err != nil && (strings.Contains(text, "not supported yet") || strings.Contains(text, "unrecognized option")) {
		return text
	}
	return ""
}

// format returns the format of an input, as qemu-img calls it.
func format(in string) string { return in[strings.LastIndexByte(in, '.')+1:] }

// startRow is what it takes to begin: info of a small image.
func startRow(o options) row {
	r := row{title: "info of a small qcow2 image, from start to exit", rounds: o.starts}
	for _, wall := range []string{"kvm", "jail", "none"} {
		argv := []string{o.instar, "info", "--sandbox=" + wall, tinyImage}
		if cmd := exec.Command(argv[0], argv[1:]...); runsIn(o.data, cmd) {
			r.contenders = append(r.contenders, contender{name: "instar --sandbox=" + wall, argv: argv})
		}
	}
	r.contenders = append(r.contenders, contender{name: "qemu-img info", argv: []string{"qemu-img", "info", tinyImage}})
	return r
}

func runsIn(dir string, cmd *exec.Cmd) bool {
	cmd.Dir = dir
	return cmd.Run() == nil
}

// sharedRows are copies on a file system whose files can share their extents.
func sharedRows(o options, fs *sharing) []row {
	const most = 100 // for a GiB
	in, out := filepath.Base(rawImage), outputFile
	rows := []row{
		{title: "dd raw → raw on a file system with reflink, bs=1M", most: most, contenders: append(
			walled(o, "dd", "bs=1M", "if="+in, "of="+out),
			contender{name: "cp --reflink=always, sync -d", argv: shell("cp --reflink=always " + in + " " + out + " && sync -d " + out)},
			contender{name: "qemu-img dd bs=1M", argv: []string{"qemu-img", "dd", "bs=1M", "if=" + in, "of=" + out}},
		)},
		{title: "dd qcow2 → raw on a file system with reflink, bs=1M", most: most, contenders: append(
			walled(o, "dd", "bs=1M", "if="+qcow2Image, "of="+out),
			contender{name: "qemu-img dd bs=1M", argv: []string{"qemu-img", "dd", "bs=1M", "if=" + qcow2Image, "of=" + out}},
		)},
	}
	for i := range rows {
		rows[i].dir, rows[i].missing, rows[i].output, rows[i].rounds = fs.dir, fs.missing, "raw", o.rounds
		rows[i].note = fs.note
	}
	return rows
}

package main

import (
	"os/exec"
	"strings"
)

// A row is one piece of work and everybody who is measured at it. The first
// contender is the one that the others are compared with.
type row struct {
	title      string
	contenders []contender
	outputs    bool // outputs are written, and have to be equal
	rounds     int
}

// A contender is a program with its arguments. {in} and {out} were put in.
type contender struct {
	name string
	argv []string
}

// rows returns everything that is measured.
func rows(o options) []row {
	return append(copies(o), starts(o)...)
}

func copies(o options) []row {
	rows := []row{
		ddRow(o, "dd raw → raw, default bs (a quarter of the size)", quarterImage, "", "cp"),
		ddRow(o, "dd raw → raw, bs=1M", rawImage, "bs=1M", "cp"),
		ddRow(o, "dd qcow2 → raw, bs=1M", qcow2Image, "bs=1M", ""),
		convertRow(o, "convert raw → raw", rawImage),
		convertRow(o, "convert qcow2 → raw", qcow2Image),
		convertRow(o, "convert qcow2 (zlib) → raw", zlibImage),
		convertRow(o, "convert qcow2 (zstd) → raw", zstdImage),
		convertRow(o, "convert a chain of three overlays → raw", chainImage),
		convertRow(o, "convert sparse qcow2 (64 times the size, a tenth of the size stored) → raw", sparseImage),
	}
	return rows
}

// ddRow is a dd by everybody. Both dds put what they wrote on the disk before
// they end, so cp is followed by a sync of its file.
func ddRow(o options, title, in, operands, cp string) row {
	args := append([]string{"dd"}, strings.Fields(operands)...)
	args = append(args, "if="+in, "of="+outputFile)
	r := row{title: title, outputs: true, rounds: o.rounds, contenders: []contender{
		{"instar", append([]string{o.instar}, args...)},
		{"instar --sandbox=none", append([]string{o.instar, args[0], "--sandbox=none"}, args[1:]...)},
		{strings.TrimSpace("qemu-img dd " + operands), append([]string{"qemu-img"}, args...)},
	}}
	if cp != "" {
		script := "cp --sparse=never --reflink=never " + in + " " + outputFile + " && sync -d " + outputFile
		r.contenders = append(r.contenders, contender{"cp, sync -d", []string{"sh", "-c", script}})
	}
	return r
}

func convertRow(o options, title, in string) row {
	args := []string{"-O", "raw", in, outputFile}
	r := row{title: title, outputs: true, rounds: o.rounds, contenders: []contender{
		{"instar", append([]string{o.instar, "convert"}, args...)},
		{"instar --sandbox=none", append([]string{o.instar, "convert", "--sandbox=none"}, args...)},
		{"qemu-img convert", append([]string{"qemu-img", "convert"}, args...)},
		{"qemu-img convert -W -m 16", append([]string{"qemu-img", "convert", "-W", "-m", "16"}, args...)},
	}}
	if _, err := exec.LookPath("nbdcopy"); err == nil {
		r.contenders = append(r.contenders, contender{"nbdcopy", []string{
			"sh", "-c", "truncate -s 0 " + outputFile + " && nbdcopy -- [ qemu-nbd -r -f " + format(in) + " " + in + " ] " + outputFile,
		}})
	}
	if name, line, ok := strings.Cut(o.peer, "="); ok {
		line = strings.NewReplacer("{in}", in, "{out}", outputFile).Replace(line)
		r.contenders = append(r.contenders, contender{name, []string{"sh", "-c", line}})
	}
	return r
}

func format(in string) string { return in[strings.LastIndexByte(in, '.')+1:] }

// starts are rows on what it takes to begin: info of a small image.
func starts(o options) []row {
	r := row{title: "info of a small qcow2 image, from start to exit", rounds: o.starts}
	for _, wall := range []string{"kvm", "jail", "none"} {
		argv := []string{o.instar, "info", "--sandbox=" + wall, tinyImage}
		if cmd := exec.Command(argv[0], argv[1:]...); runsIn(o.data, cmd) {
			r.contenders = append(r.contenders, contender{"instar --sandbox=" + wall, argv})
		}
	}
	r.contenders = append(r.contenders, contender{"qemu-img info", []string{"qemu-img", "info", tinyImage}})
	return []row{r}
}

func runsIn(dir string, cmd *exec.Cmd) bool {
	cmd.Dir = dir
	return cmd.Run() == nil
}

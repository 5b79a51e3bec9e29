package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

// A curve is how time and memory grow with one property of the work.
type curve struct {
	name   string // of its plot
	title  string
	axis   string
	points []point
}

// A point is a measurement: the property, and the median of what it took.
type point struct {
	x      float64
	label  string
	time   float64 // seconds
	memory float64 // MiB
}

// A work is one step of a curve.
type work struct {
	x        float64
	label    string
	prepare  [][]string
	argv     []string
	leftover []string // files that were made for it
}

// growth measures all curves.
func growth(o options, say func(string)) ([]curve, error) {
	var curves []curve
	for _, g := range []struct {
		curve
		works []work
	}{
		{curve{name: "virtual-size", title: "virtual size, 64 MiB stored", axis: "virtual size in GiB"}, bySize(o)},
		{curve{name: "allocated-size", title: "allocated size", axis: "stored in MiB"}, byAllocation(o)},
		{curve{name: "chain-depth", title: "depth of a chain", axis: "images in the chain"}, byDepth(o)},
		{curve{name: "cluster-size", title: "cluster size", axis: "cluster size in KiB"}, byClusterSize(o)},
		{curve{name: "cores", title: "cores, of a zlib qcow2", axis: "cores"}, byCores(o)},
	} {
		say("growth with " + g.title)
		for _, w := range g.works {
			p, err := measureWork(o, w)
			if err != nil {
				return nil, fmt.Errorf("growth with %s: %s: %w", g.title, w.label, err)
			}
			g.points = append(g.points, p)
		}
		curves = append(curves, g.curve)
	}
	return curves, nil
}

// measureWork takes the median of a few rounds after a warm-up.
func measureWork(o options, w work) (point, error) {
	defer func() {
		for _, name := range append(w.leftover, outputFile) {
			_ = os.Remove(filepath.Join(o.data, name))
		}
	}()
	for _, c := range w.prepare {
		if err := command(o.data, c[0], c[1:]...); err != nil {
			return point{}, err
		}
	}
	var samples []sample
	for round := range min(o.rounds, 3) + 1 {
		s, err := measureOne(o, o.data, w.argv)
		if err != nil {
			return point{}, err
		}
		if round > 0 {
			samples = append(samples, s)
		}
	}
	return point{w.x, w.label, of(samples, elapsed).Seconds(), float64(of(samples, memory)) / (1 << 20)}, nil
}

// convertTo is a conversion by the program.
func convertTo(o options, format, in string) []string {
	return []string{o.instar, "convert", "-O", format, in, outputFile}
}

const growthImage = "growth.qcow2"

// bySize: the output is qcow2, since no file system here may have a file of
// 64 TiB.
func bySize(o options) []work {
	var works []work
	stored := min(o.size, 64<<20)
	for size := int64(1 << 30); size <= 64<<40; size *= 8 {
		w := work{
			x: float64(size) / (1 << 30), label: human(size), leftover: []string{growthImage},
			prepare: [][]string{create(growthImage, fmt.Sprint(size))}, argv: convertTo(o, "qcow2", growthImage),
		}
		fill := []string{"qemu-io", "-f", "qcow2"}
		for i := range int64(16) {
			fill = append(fill, "-c", write(int(i)+1, size/16*i, stored/16))
		}
		w.prepare = append(w.prepare, append(fill, growthImage))
		works = append(works, w)
	}
	return works
}

func byAllocation(o options) []work {
	var works []work
	for stored := o.size / 16; stored <= o.size; stored *= 2 {
		part := []string{"qemu-img", "dd", "-O", "raw", "bs=1M", fmt.Sprintf("count=%d", max(stored>>20, 1)), "if=" + rawImage, "of=growth.raw"}
		works = append(works, work{
			x: float64(stored) / (1 << 20), label: human(stored), leftover: []string{growthImage, "growth.raw"},
			prepare: [][]string{part, {"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "growth.raw", growthImage}},
			argv:    convertTo(o, "raw", growthImage),
		})
	}
	return works
}

// byDepth: every image of the chain has an equal part of a quarter of the size.
func byDepth(o options) []work {
	var works []work
	for depth := 1; depth <= 16; depth *= 2 {
		w := work{x: float64(depth), label: fmt.Sprint(depth)}
		size := o.size / 4
		for i := range depth {
			name := fmt.Sprintf("depth%d.qcow2", i)
			if i == 0 {
				w.prepare = append(w.prepare, create(name, fmt.Sprint(size)))
			} else {
				w.prepare = append(w.prepare, create(name, "-b", w.leftover[i-1], "-F", "qcow2"))
			}
			part := size / int64(depth)
			w.prepare = append(w.prepare, []string{"qemu-io", "-f", "qcow2", "-c", write(i+1, part*int64(i), part), name})
			w.leftover = append(w.leftover, name)
			w.argv = convertTo(o, "raw", name)
		}
		works = append(works, w)
	}
	return works
}

func byClusterSize(o options) []work {
	var works []work
	for size := int64(512); size <= 2<<20; size *= 4 {
		works = append(works, work{
			x: float64(size) / 1024, label: human(size), leftover: []string{growthImage},
			prepare: [][]string{{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", fmt.Sprintf("cluster_size=%d", size), quarterImage, growthImage}},
			argv:    convertTo(o, "raw", growthImage),
		})
	}
	return works
}

func byCores(o options) []work {
	var works []work
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return nil
	}
	for cores := 1; cores <= 2; cores++ {
		works = append(works, work{
			x: float64(cores), label: fmt.Sprint(cores),
			argv: append([]string{taskset, "-c", fmt.Sprintf("0-%d", cores-1)}, convertTo(o, "raw", zlibImage)...),
		})
	}
	return works
}

// slope returns the exponent of the power of x that y grows with: the slope of
// the line that fits the logarithms best.
func slope(points []point, y func(point) float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, p := range points {
		if p.x <= 0 || y(p) <= 0 {
			continue
		}
		lx, ly := math.Log(p.x), math.Log(y(p))
		n, sx, sy, sxx, sxy = n+1, sx+lx, sy+ly, sxx+lx*lx, sxy+lx*ly
	}
	d := n*sxx - sx*sx
	if d == 0 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

func pointTime(p point) float64   { return p.time }
func pointMemory(p point) float64 { return p.memory }

// human returns a size that is a power of 2 in short.
func human(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n >= 1024 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return fmt.Sprintf("%d %s", n, units[i])
}

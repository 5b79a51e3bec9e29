package main

import (
	"fmt"
	"math"
	"strings"
)

// A plot is drawn in user units of SVG.
const (
	plotWidth, plotHeight = 360, 240
	plotLeft, plotTop     = 56, 32
)

// svg draws a curve: time and memory, each on axes of logarithms with the line
// that fits.
func svg(c curve) string {
	var b strings.Builder
	width, height := 2*(plotWidth+plotLeft)+24, plotHeight+plotTop+56
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	panel(&b, plotLeft, "time in seconds against "+c.axis, c.points, pointTime, "#1f5fa8")
	panel(&b, 2*plotLeft+plotWidth+12, "memory in MiB against "+c.axis, c.points, pointMemory, "#a8501f")
	b.WriteString("</svg>\n")
	return b.String()
}

// An axis maps logarithms to a range of user units.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (math.Log(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// newAxis has room around its values, and spans a factor of 4 at least, so that
// what is level looks level.
func newAxis(values []float64, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, math.Log(v)), max(high, math.Log(v))
	}
	if short := math.Log(4) - (high - low); short > 0 {
		low, high = low-short/2, high+short/2
	}
	room := (high - low) * 0.06
	return axis{low - room, high + room, from, to}
}

func panel(b *strings.Builder, left float64, title string, points []point, y func(point) float64, color string) {
	var xs, ys []float64
	for _, p := range points {
		xs, ys = append(xs, p.x), append(ys, max(y(p), 1e-6))
	}
	if len(xs) == 0 {
		return
	}
	bottom := float64(plotTop + plotHeight)
	h, v := newAxis(xs, left, left+plotWidth), newAxis(ys, bottom, plotTop)
	k := slope(points, y)
	fmt.Fprintf(b, `<text x="%.0f" y="18" font-weight="bold">%s (slope %.2f)</text>`+"\n", left, title, k)
	fmt.Fprintf(b, `<rect x="%.0f" y="%d" width="%d" height="%d" fill="none" stroke="#888"/>`+"\n", left, plotTop, plotWidth, plotHeight)

	for i, p := range points {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", h.at(p.x), bottom+16, p.label)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", h.at(p.x), v.at(ys[i]), color)
	}
	for i := range 5 {
		at := math.Exp(v.low + (v.high-v.low)*float64(i)/4)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end">%.3g</text>`+"\n", left-4, v.at(at)+4, at)
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", left, left+plotWidth, v.at(at), v.at(at))
	}

	// The line goes through the middle of the logarithms.
	var mx, my float64
	for i := range xs {
		mx, my = mx+math.Log(xs[i])/float64(len(xs)), my+math.Log(ys[i])/float64(len(xs))
	}
	fit := func(x float64) float64 { return math.Exp(my + k*(math.Log(x)-mx)) }
	first, last := xs[0], xs[len(xs)-1]
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="4 3"/>`+"\n",
		h.at(first), v.at(fit(first)), h.at(last), v.at(fit(last)), color)
}

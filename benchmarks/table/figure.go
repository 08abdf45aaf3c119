package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// figure is a diagram with logarithmic axes.
type figure struct {
	title, x, y string
	lines       []line // of which some may have no points
}

// line is a line of a figure.
type line struct {
	name   string
	color  int // of figureStyle
	dashed bool
	points [][2]float64
}

func (l *line) add(x, y float64) { l.points = append(l.points, [2]float64{x, y}) }

// Sizes of a figure, and of the part of it that is between the axes.
const (
	figureWidth, figureHeight = 860, 420
	figureLeft, figureTop     = 80, 56
	figureRight, figureBottom = 530, 350
)

// figureStyle makes figures readable on light and on dark pages.
const figureStyle = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.page { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.line { stroke-width: 2.5 }
.dashed { stroke-dasharray: 7 5 }
.c0 { stroke: #cf222e; fill: #cf222e } .c1 { stroke: #0969da; fill: #0969da }
.c2 { stroke: #1a7f37; fill: #1a7f37 } .c3 { stroke: #6e7781; fill: #6e7781 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.grid { stroke: #30363d }
.c0 { stroke: #ff7b72; fill: #ff7b72 } .c1 { stroke: #58a6ff; fill: #58a6ff }
.c2 { stroke: #56d364; fill: #56d364 } .c3 { stroke: #9ea7b3; fill: #9ea7b3 }
}
.line { fill: none }
</style>
`

// write writes the figure as an SVG file in a folder.
func (f figure) write(folder, name string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name), []byte(f.svg()), 0o644)
}

// axis maps the values of an axis to places.
type axis struct {
	low, high float64 // exponents of 10
	from, to  float64 // places
}

func (a axis) place(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// ticks returns the powers of 10.
func (a axis) ticks() (values []float64) {
	for e := a.low; e <= a.high; e++ {
		values = append(values, math.Pow(10, e))
	}
	return values
}

// axes returns the axes for all points.
func (f figure) axes() (x, y axis) {
	x = axis{math.Inf(1), math.Inf(-1), figureLeft, figureRight}
	y = axis{math.Inf(1), math.Inf(-1), figureBottom, figureTop}
	for _, l := range f.lines {
		for _, p := range l.points {
			for i, a := range []*axis{&x, &y} {
				a.low, a.high = min(a.low, math.Floor(math.Log10(p[i]))), max(a.high, math.Ceil(math.Log10(p[i])))
			}
		}
	}
	for _, a := range []*axis{&x, &y} {
		if !(a.low < a.high) {
			a.high = a.low + 1
		}
	}
	return x, y
}

func (f figure) svg() string {
	var b strings.Builder
	text := func(x, y float64, more, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f"%s>`, x, y, more)
		xml.EscapeText(&b, []byte(s))
		b.WriteString("</text>\n")
	}
	x, y := f.axes()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		figureWidth, figureHeight, figureWidth, figureHeight)
	b.WriteString("<title>")
	xml.EscapeText(&b, []byte(f.title))
	b.WriteString("</title>\n" + figureStyle)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="6"/>`+"\n", figureWidth, figureHeight)
	text(figureLeft, 30, ` class="title"`, f.title)
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %d V%d"/>`+"\n", x.place(v), figureTop, figureBottom)
		text(x.place(v), figureBottom+20, ` text-anchor="middle"`, grouped(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1f H%d"/>`+"\n", figureLeft, y.place(v), figureRight)
		text(figureLeft-8, y.place(v)+4, ` text-anchor="end"`, grouped(v))
	}
	text((figureLeft+figureRight)/2, figureBottom+46, ` text-anchor="middle"`, f.x)
	text(0, 0, fmt.Sprintf(` text-anchor="middle" transform="translate(18 %d) rotate(-90)"`, (figureTop+figureBottom)/2), f.y)
	f.draw(&b, x, y, text)
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws the lines, with their names at their ends, no two on top of each other.
func (f figure) draw(b *strings.Builder, x, y axis, text func(x, y float64, more, s string)) {
	type label struct {
		y     float64
		color int
		name  string
	}
	var labels []label
	for _, l := range f.lines {
		if len(l.points) == 0 {
			continue
		}
		var at []string
		for _, p := range l.points {
			at = append(at, fmt.Sprintf("%.1f %.1f", x.place(p[0]), y.place(p[1])))
			fmt.Fprintf(b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", l.color, x.place(p[0]), y.place(p[1]))
		}
		class := fmt.Sprintf("line c%d", l.color)
		if l.dashed {
			class += " dashed"
		}
		fmt.Fprintf(b, `<path class="%s" d="M%s"/>`+"\n", class, strings.Join(at, " L"))
		last := l.points[len(l.points)-1]
		labels = append(labels, label{y.place(last[1]), l.color, l.name + ": " + grouped(last[1])})
	}
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for i := range labels {
		if i > 0 {
			labels[i].y = max(labels[i].y, labels[i-1].y+18)
		}
		fmt.Fprintf(b, `<rect class="c%d" x="%d" y="%.1f" width="9" height="9"/>`+"\n", labels[i].color, figureRight+12, labels[i].y-4.5)
		text(figureRight+26, labels[i].y+4, "", labels[i].name)
	}
}

// grouped returns a number with a comma in front of each three digits.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	if v < 10 {
		return fmt.Sprintf("%.2g", v)
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

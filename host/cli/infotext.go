package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"instar/internal/safetext"
	"instar/job"
)

// human returns the description as qemu-img prints it for people. What comes
// from the image is escaped.
func (i *imageInfo) human() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format+"\n", args...)
	}
	line("image: %s", safetext.Escape(i.name))
	line("file format: %s", i.Format)
	line("virtual size: %s (%d bytes)", sizeText(i.VirtualSize), i.VirtualSize)
	line("disk size: %s", sizeText(i.actualSize))
	if i.Encrypted {
		line("encrypted: yes")
	}
	if i.ClusterSize > 0 {
		line("cluster_size: %d", i.ClusterSize)
	}
	if i.Dirty && !withoutFlag[i.Format] {
		line("cleanly shut down: no")
	}
	if i.backing != nil {
		name, path := i.backing.Names[0], i.backingPath
		if path != name {
			line("backing file: %s (actual path: %s)", safetext.Escape(name), safetext.Escape(path))
		} else {
			line("backing file: %s", safetext.Escape(name))
		}
		if i.backing.Format != "" {
			line("backing file format: %s", safetext.Escape(i.backing.Format))
		}
	}
	if len(i.Snapshots) > 0 {
		line("Snapshot list:")
		line("%-10s%-17s%8s%20s%13s%11s", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT")
		for _, s := range i.Snapshots {
			line("%s", snapshotText(s))
		}
	}
	if len(i.Details) > 0 {
		line("Format specific information:")
		detailText(&b, detailObject(i.Details), 1)
	}
	for k := range i.children {
		b.WriteString(i.children[k].human())
	}
	b.WriteString(i.safety.human())
	return b.String()
}

func snapshotText(s job.Snapshot) string {
	clock := time.Duration(s.ClockNanos) / time.Millisecond
	icount := ""
	if s.ICount != nil {
		icount = strconv.FormatInt(*s.ICount, 10)
	}
	return fmt.Sprintf("%-9s %-16s %8s%20s%13s%11s", safetext.Escape(s.ID), safetext.Escape(s.Name),
		sizeText(s.VMStateSize),
		time.Unix(s.Seconds, 0).Format("2006-01-02 15:04:05"),
		fmt.Sprintf("%02d:%02d:%02d.%03d", clock/3600000, clock/60000%60, clock/1000%60, clock%1000), icount)
}

// sizeText returns a number of bytes in the greatest unit of which there is at
// least one, with three digits.
func sizeText(n int64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	// QEMU takes the next unit from 1000 on, so that three digits do.
	_, exponent := math.Frexp(float64(n) / (1000.0 / 1024.0))
	k := max(exponent-1, 0) / 10
	return trimExponent(float64(n)/math.Exp2(float64(10*k))) + " " + units[k] + "B"
}

func trimExponent(f float64) string { return strconv.FormatFloat(f, 'g', 3, 64) }

// detailText prints nested fields, four blanks a level.
func detailText(b *strings.Builder, o object, level int) {
	for _, f := range o {
		fmt.Fprintf(b, "%s%s:", strings.Repeat("    ", level), safetext.Escape(strings.ReplaceAll(f.key, "-", " ")))
		valueText(b, f.value, level)
	}
}

func valueText(b *strings.Builder, value any, level int) {
	switch v := value.(type) {
	case object:
		b.WriteByte('\n')
		detailText(b, v, level+1)
	case []any:
		b.WriteByte('\n')
		for k, item := range v {
			fmt.Fprintf(b, "%s[%d]:", strings.Repeat("    ", level+1), k)
			valueText(b, item, level+1)
		}
	case string:
		fmt.Fprintf(b, " %s\n", safetext.Escape(v))
	default:
		fmt.Fprintf(b, " %v\n", v)
	}
}

// An object is a JSON object whose fields keep their order.
type object []field

type field struct {
	key   string
	value any
}

func (o *object) add(key string, value any) { *o = append(*o, field{key, value}) }

// A jsonWriter lays JSON out as qemu-img does: four blanks a level.
type jsonWriter struct{ strings.Builder }

func (w *jsonWriter) value(v any, level int) {
	switch v := v.(type) {
	case object:
		w.block('{', '}', len(v), level, func(k int) {
			w.scalar(v[k].key)
			w.WriteString(": ")
			w.value(v[k].value, level+1)
		})
	case []any:
		w.block('[', ']', len(v), level, func(k int) { w.value(v[k], level+1) })
	default:
		w.scalar(v)
	}
}

func (w *jsonWriter) block(open, end byte, n, level int, item func(k int)) {
	w.WriteByte(open)
	for k := range n {
		if k > 0 {
			w.WriteByte(',')
		}
		w.WriteString("\n" + strings.Repeat("    ", level+1))
		item(k)
	}
	w.WriteString("\n" + strings.Repeat("    ", level))
	w.WriteByte(end)
}

func (w *jsonWriter) scalar(v any) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, numbers and booleans can be encoded
	}
	w.WriteString(strings.TrimSuffix(b.String(), "\n"))
}

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"instar/internal/qemunum"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are what a run was asked for.
type options struct {
	instar  string        // path of the program
	data    string        // folder of the inputs, which are kept, and of the outputs
	tree    string        // real files, for the inputs
	size    int64         // bytes of the inputs
	rounds  int           // after the warm-up
	more    time.Duration // that a row may take for up to three times as many rounds
	starts  int           // of the rows on start-up
	settle  bool          // have everything that was written on the disk before a run
	ballast bool          // keep a hypervisor from taking free memory back
	trace   bool          // count system calls, if strace is there
	peer    string        // one more converter, NAME=COMMAND with {in} and {out}; or ""
}

func run() error {
	var o options
	size := os.Getenv("BENCH_SIZE")
	if size == "" {
		size = "1G"
	}
	flag.StringVar(&o.instar, "instar", "./instar", "the program")
	flag.StringVar(&o.data, "data", "bench/data", "folder for inputs, which are kept, and outputs")
	flag.StringVar(&o.tree, "tree", "/usr", "real files, for the inputs")
	flag.StringVar(&size, "size", size, "size of the inputs (BENCH_SIZE)")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds after the warm-up")
	flag.DurationVar(&o.more, "more", 25*time.Second, "time that a row may take for up to three times as many rounds")
	flag.IntVar(&o.starts, "starts", 20, "rounds for rows on start-up")
	flag.StringVar(&o.peer, "peer", os.Getenv("PEER"), "one more converter, 'NAME=COMMAND {in} {out}' (PEER)")
	flag.BoolVar(&o.trace, "trace", true, "count system calls")
	only := flag.String("only", "", "measure only rows whose title has this in it, and print the page")
	flag.BoolVar(&o.ballast, "ballast", reporting(), "keep a hypervisor from taking free memory back between runs")
	flag.BoolVar(&o.settle, "settle", true, "have everything written on the disk before a run")
	hold := flag.Bool(holdFlag, false, "be the ballast of another process")
	out := flag.String("o", "", "file for the page, which plots are put beside; standard output without it")
	flag.Parse()
	if *hold {
		return holdBallast()
	}
	var err error
	if o.size, err = qemunum.ParseBetween("size", size, 1<<20, 1<<40); err != nil {
		return err
	}
	r, err := bench(o, *only, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return err
	}
	page, err := render(o, r)
	if err != nil {
		return err
	}
	if *out == "" || *only != "" {
		_, err = os.Stdout.WriteString(page)
	} else {
		err = save(*out, page, r.curves)
	}
	if err == nil && len(r.failed) > 0 {
		err = fmt.Errorf("not measured:\n%s", strings.Join(r.failed, "\n"))
	}
	return err
}

// save writes the page, and the plots beside it.
func save(name, page string, curves []curve) error {
	plots := filepath.Join(filepath.Dir(name), "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for _, c := range curves {
		if err := os.WriteFile(filepath.Join(plots, c.name+".svg"), []byte(svg(c)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(page), 0o644)
}

// bench measures all rows, or those whose title has only in it. say is told
// what it is at. A row that cannot be measured does not keep the others from it.
func bench(o options, only string, say func(string)) (report, error) {
	var r report
	var err error
	if o.instar, err = filepath.Abs(o.instar); err != nil {
		return r, err
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return r, err
	}
	say("making the inputs")
	if err := makeInputs(o); err != nil {
		return r, err
	}
	if o.ballast {
		b, err := newBallast()
		if err != nil {
			return r, err
		}
		defer b.drop()
	}
	all := rows(o)
	shared := newSharing(o)
	defer shared.close()
	all = append(all, sharedRows(o, shared)...)
	for _, row := range all {
		if !strings.Contains(row.title, only) {
			continue
		}
		say(row.title)
		t, err := measure(o, row)
		if err != nil {
			r.failed = append(r.failed, strings.ReplaceAll(fmt.Sprintf("%s: %v", row.title, err), "\n", " "))
			say(r.failed[len(r.failed)-1])
		}
		r.tables = append(r.tables, t)
	}
	if only == "" || strings.Contains("growth", only) {
		r.curves, err = growth(o, say)
	}
	return r, err
}

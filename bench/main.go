package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

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
	instar string // path of the program
	data   string // folder of the inputs, which are kept, and of the outputs
	tree   string // real files, for the inputs
	size   int64  // bytes of the inputs
	rounds int    // after the warm-up
	starts int    // of the rows on start-up
	peer   string // one more converter, NAME=COMMAND with {in} and {out}; or ""
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
	flag.IntVar(&o.starts, "starts", 20, "rounds for rows on start-up")
	flag.StringVar(&o.peer, "peer", os.Getenv("PEER"), "one more converter, 'NAME=COMMAND {in} {out}' (PEER)")
	out := flag.String("o", "", "file for the page; standard output without it")
	flag.Parse()
	var err error
	if o.size, err = qemunum.ParseBetween("size", size, 1<<20, 1<<40); err != nil {
		return err
	}
	page, err := bench(o, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return err
	}
	if *out == "" {
		_, err = os.Stdout.WriteString(page)
		return err
	}
	return os.WriteFile(*out, []byte(page), 0o644)
}

// bench measures all rows and returns the page. say is told what it is at.
func bench(o options, say func(string)) (string, error) {
	var err error
	if o.instar, err = filepath.Abs(o.instar); err != nil {
		return "", err
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return "", err
	}
	say("making the inputs")
	if err := makeInputs(o); err != nil {
		return "", err
	}
	var done []table
	for _, r := range rows(o) {
		say(r.title)
		t, err := measure(o, r)
		if err != nil {
			return "", fmt.Errorf("%s: %w", r.title, err)
		}
		done = append(done, t)
	}
	return render(o, done)
}

// Package cli is the command line: one file for each sub-command, on cobra,
// behind an option parser that takes what qemu-img takes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"instar/internal/strerror"
)

// Main runs the program for the arguments argv, of which the first is the name
// that it was called by, and returns the exit code.
func Main(argv []string, version string) int {
	p := &program{version: version, stdout: &results{w: os.Stdout}, stderr: os.Stderr, getenv: os.Getenv}
	if len(argv) > 0 {
		p.name = filepath.Base(argv[0])
		argv = argv[1:]
	}
	ctx, stop := signalContext()
	defer stop()
	return p.run(ctx, argv)
}

// A program is one run of the program.
type program struct {
	name    string // what it was called by
	version string
	stdout  *results
	stderr  io.Writer
	getenv  func(string) string
	worker  string // what is started as the worker; "" is this program
	// finishing is held while there is something that a signal must not keep
	// from being undone: an output that is not complete, a terminal that does
	// not echo. Without it a signal ends the program at once, whatever that
	// waits for.
	finishing sync.Mutex
}

// results is standard output, for all but progress: what it does not take is an
// error in the end, whoever wrote it.
type results struct {
	w   io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		err = fmt.Errorf("write to standard output: %s", strerror.Text(err))
		if r.err == nil {
			r.err = err
		}
	}
	return n, err
}

// A signalError says that a signal asked the program to end.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return e.signal.String() }

// signalContext returns a context that ends when a signal asks the program to.
func signalContext() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup has it, and a shell for what runs in the background
			signal.Notify(signals, s)
		}
	}
	// Who reads the progress may go away: that is no reason to leave a copy half
	// done, as the Go runtime would. Writing to them fails from then on. Nor is a
	// question for the progress, whenever it comes.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGUSR1)
	go func() {
		s := <-signals
		cancel(&signalError{s.(syscall.Signal)})
	}()
	// The signals stay taken until the program has ended: a second one must not
	// end it otherwise.
	return ctx, func() { cancel(nil) }
}

// A usageError is shown with a hint at the help.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func (p *program) run(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if err := checkDescriptors(); err != nil {
		p.say(err.Error())
		return 1
	}
	root := p.root()
	root.SetArgs(args)
	root.SetContext(ctx)
	completing := len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
	for _, c := range root.Commands() {
		c.DisableFlagParsing = !completing && c.Annotations[ownOptions] != ""
	}
	err := p.execute(ctx, root)
	var help *helpError
	if errors.As(err, &help) {
		_, err = fmt.Fprint(p.stdout, help.text)
	}
	if err == nil {
		err = p.stdout.err
	}
	if err == nil {
		return 0
	}
	var s *signalError
	if errors.As(err, &s) || errors.As(context.Cause(ctx), &s) {
		return 128 + int(s.signal)
	}
	code := 1
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	p.say(err.Error())
	var more *furtherError
	if errors.As(err, &more) {
		p.say(more.further)
	}
	var h hinter
	if errors.As(err, &h) {
		fmt.Fprint(p.stderr, h.hint())
	}
	var usage *usageError
	var option *optionError
	if errors.As(err, &usage) || errors.As(err, &option) {
		fmt.Fprintf(p.stderr, "Try '%s --help' for more information\n", p.name)
	}
	return code
}

// minDescriptors is how many files a run has to be allowed to have open: with
// fewer, the Go runtime can end the program with a stack trace.
const minDescriptors = 32

func checkDescriptors() error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Max < minDescriptors {
		return fmt.Errorf("only %d files may be open, and a run needs %d (ulimit -n)", limit.Max, minDescriptors)
	}
	return nil
}

// execute runs the command. When ctx ends, it does not wait for it any longer than
// something has to be undone.
func (p *program) execute(ctx context.Context, root *cobra.Command) error {
	done := make(chan error, 1)
	go func() { done <- root.Execute() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	p.finishing.Lock() // for good: nothing is begun any more
	select {
	case err := <-done:
		return err
	default:
		return context.Cause(ctx)
	}
}

// say prints a line on standard error.
func (p *program) say(text string) { fmt.Fprintf(p.stderr, "%s: %s\n", p.name, text) }

// ownOptions marks the commands whose options this package reads itself.
const ownOptions = "options"

// root returns the command tree.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   p.name,
		Short: "copy and convert disk images that nobody should trust",
		Long: `instar does the work of qemu-img dd, convert, compare, create and info on disk images that
nobody should trust: it parses them behind a wall, in a microVM without an
operating system or in a locked-in process.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"Not enough arguments"}
			}
			return &usageError{"Command not found: " + args[0]}
		},
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.Version = p.versionText()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			dashes := "--"
			if len(unknown.GetSpecifiedName()) == 1 {
				dashes = "-"
			}
			return unrecognized(dashes + unknown.GetSpecifiedName())
		}
		return &usageError{err.Error()}
	})
	root.Flags().SortFlags = false
	root.Flags().BoolP("version", "V", false, "print the version")
	root.AddCommand(p.ddCommand(), p.convertCommand(), p.compareCommand(), p.createCommand(), p.infoCommand(), p.doctorCommand(), p.versionCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// Commands returns the command tree as it is when the program is started by
// that name, for whoever writes about it.
func Commands(name, version string) *cobra.Command {
	return (&program{name: name, version: version, getenv: os.Getenv, stdout: &results{w: io.Discard}, stderr: io.Discard}).root()
}

// own has the options of a command read by parseOptions, and the command run
// with its operands.
func (p *program) own(c *cobra.Command, run func(ctx context.Context, operands []string) error) *cobra.Command {
	c.Annotations = map[string]string{ownOptions: "own"}
	c.Args = cobra.ArbitraryArgs // options are among them
	c.DisableFlagsInUseLine = true
	c.Flags().SortFlags = false
	help := c.Flags().BoolP("help", "h", false, "show this help")
	c.RunE = func(c *cobra.Command, args []string) error {
		_, posix := os.LookupEnv("POSIXLY_CORRECT")
		operands, err := parseOptions(c.Flags(), args, !posix)
		if *help {
			return c.Help()
		}
		if err != nil {
			return err
		}
		return run(c.Context(), operands)
	}
	return c
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version",
		Example: "  instar version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, p.versionText())
			return err
		},
	}
}

// likeVersion is the version of QEMU whose command lines and texts these are.
const likeVersion = "10.1.0"

// versionText is what the program calls itself: in the place of qemu-img it
// begins as that does, whose callers look for a version there.
func (p *program) versionText() string {
	text := "instar version " + p.version
	if p.name == "qemu-img" {
		return fmt.Sprintf("qemu-img version %s (%s)", likeVersion, text)
	}
	return text
}

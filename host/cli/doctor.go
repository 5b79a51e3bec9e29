package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"instar/host/sandbox"
)

func (p *program) doctorCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "doctor",
		Short: "show which walls this machine has, and which one is used",
		Long: `Start a worker behind each wall and say what became of it: which walls this
machine has, which one is used and why, and what to do about what is missing.

The exit code is 1 if there is no wall at all.`,
		Example: `  instar doctor
  instar doctor --sandbox kvm`,
	}
	s.addWall(c.Flags())
	return p.own(c, func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			return &usageError{"doctor takes no operands"}
		}
		r, err := p.runner(&s)
		if err != nil {
			return err
		}
		return r.doctor(ctx)
	})
}

func (r *runner) doctor(ctx context.Context) error {
	o, err := r.sandboxOptions()
	if err != nil {
		return err
	}
	statuses := sandbox.Doctor(ctx, o)
	var b strings.Builder
	usable := false
	for _, s := range statuses {
		usable = usable || s.Usable
		describeWall(&b, s)
	}
	fmt.Fprintf(&b, "system calls that a worker can make behind either wall: %d\n", sandbox.Calls())
	if _, err := fmt.Fprint(r.stdout, b.String()); err != nil {
		return err
	}
	if !usable {
		return errors.New("there is no wall on this machine: images are not parsed, except with --sandbox none")
	}
	return nil
}

func describeWall(b *strings.Builder, s sandbox.WallStatus) {
	switch {
	case s.Usable:
		fmt.Fprintf(b, "%s: usable, ready in %v\n", s.Wall, s.StartTime.Round(100*time.Microsecond))
	default:
		fmt.Fprintf(b, "%s: not usable: %v\n", s.Wall, s.Err)
	}
	if s.Hint != "" {
		fmt.Fprintf(b, "  hint: %s\n", s.Hint)
	}
	if s.Chosen {
		fmt.Fprintf(b, "  used by default: %s\n", s.Why)
	}
	for _, f := range s.Features {
		if f.Missing == "" {
			fmt.Fprintf(b, "  %s\n", f.Name)
			continue
		}
		fmt.Fprintf(b, "  %s: %s\n", f.Name, f.Missing)
		if f.Hint != "" {
			fmt.Fprintf(b, "    hint: %s\n", f.Hint)
		}
	}
}

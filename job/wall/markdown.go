package wall

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Markdown returns the table as a page shows it: the calls that are carried
// out, group by group, and then those that are refused without harm.
func Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d system calls are carried out:\n\n", Len())
	b.WriteString("| call | what for | on what terms |\n|---|---|---|\n")
	for _, g := range Table {
		for _, c := range g.Calls {
			if c.Refusal == 0 {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Name, c.For, c.terms())
			}
		}
	}
	b.WriteString("\nThese are answered with an error number and not carried out:\n\n")
	b.WriteString("| call | who asks | answer |\n|---|---|---|\n")
	for c := range Calls() {
		if c.Refusal != 0 {
			fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", c.Name, c.For, unix.ErrnoName(c.Refusal))
		}
	}
	return b.String()
}

// terms returns in words what is asked of c's arguments.
func (c *Call) terms() string {
	var terms []string
	if c.Start {
		terms = append(terms, "while the program starts")
	}
	for _, a := range c.Args {
		terms = append(terms, a.terms())
	}
	return strings.Join(terms, "; ")
}

func (a *Arg) terms() string {
	switch {
	case a.OneOf != nil:
		return fmt.Sprintf("`%s` is %s", a.Name, list(a.OneOf, "or"))
	case a.Bits != nil:
		return fmt.Sprintf("`%s` has only %s", a.Name, list(a.Bits, "and"))
	case a.Descriptor == Any:
		return fmt.Sprintf("`%s` is any of the worker's descriptors", a.Name)
	case a.Descriptor != 0:
		return fmt.Sprintf("`%s` is %s", a.Name, a.Descriptor)
	}
	return fmt.Sprintf("`%s` is below the output's ceiling", a.Name)
}

// list writes the names of values as a list of code: they may hold a bar, which
// ends a cell of a table.
func list(values []Value, last string) string {
	var b strings.Builder
	for i, v := range values {
		switch {
		case i == 0:
		case i == len(values)-1:
			b.WriteString(" " + last + " ")
		default:
			b.WriteString(", ")
		}
		b.WriteString("`" + strings.ReplaceAll(v.Name, "|", `\|`) + "`")
	}
	return b.String()
}

var kindNames = []string{"a standard stream", "the control channel", "an input", "the output", "an eventfd", "an epoll instance"}

// String returns what k is called on the page, as in "an input or the output".
func (k Kind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// An optionError says that an option is none of the command's, or is used in a
// wrong way. Its texts are qemu-img's.
type optionError struct{ text string }

func (e *optionError) Error() string { return e.text }

func unrecognized(option string) error {
	return &optionError{fmt.Sprintf("unrecognized option '%s'", option)}
}

func missingArgument(option string) error {
	return &optionError{fmt.Sprintf("missing argument for option '%s'", option)}
}

// parseOptions sets the flags that args name and returns the operands, as
// getopt_long does for qemu-img: options may follow operands unless permute is
// false, "--" ends them, long ones may be abbreviated, and values are checked
// in the order in which they come. A flag with a NoOptDefVal takes a value only
// after an equals sign.
func parseOptions(flags *pflag.FlagSet, args []string, permute bool) (operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(operands, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = setLong(flags, arg, args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = setShort(flags, arg, args)
		case permute:
			operands = append(operands, arg)
		default:
			return append(append(operands, arg), args...), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return operands, nil
}

// setLong sets the flag of "--name" or "--name=value" and returns the
// arguments that are left.
func setLong(flags *pflag.FlagSet, arg string, args []string) ([]string, error) {
	name, value, given := strings.Cut(arg[2:], "=")
	flag := findLong(flags, name)
	if flag == nil {
		return nil, unrecognized(arg)
	}
	switch {
	case given && flag.Value.Type() == "bool":
		return nil, unrecognized(arg)
	case given:
	case flag.NoOptDefVal != "":
		value = flag.NoOptDefVal
	case len(args) == 0:
		return nil, missingArgument(arg)
	default:
		value, args = args[0], args[1:]
	}
	return args, set(flag, value)
}

// findLong finds a flag by its name, or by the beginning of no other's.
func findLong(flags *pflag.FlagSet, name string) *pflag.Flag {
	if flag := flags.Lookup(name); flag != nil {
		return flag
	}
	var found []*pflag.Flag
	flags.VisitAll(func(f *pflag.Flag) {
		if name != "" && strings.HasPrefix(f.Name, name) {
			found = append(found, f)
		}
	})
	if len(found) == 1 {
		return found[0]
	}
	return nil
}

// setShort sets the flags of "-abc", of which the last may take a value: the
// rest of the argument, or the next one.
func setShort(flags *pflag.FlagSet, arg string, args []string) ([]string, error) {
	for i := 1; i < len(arg); i++ {
		flag := flags.ShorthandLookup(arg[i : i+1])
		if flag == nil {
			return nil, unrecognized(arg)
		}
		if flag.NoOptDefVal != "" {
			if err := set(flag, flag.NoOptDefVal); err != nil {
				return nil, err
			}
			continue
		}
		if rest := arg[i+1:]; rest != "" {
			return args, set(flag, rest)
		}
		if len(args) == 0 {
			return nil, missingArgument(arg)
		}
		return args[1:], set(flag, args[0])
	}
	return args, nil
}

func set(flag *pflag.Flag, value string) error {
	flag.Changed = true
	return flag.Value.Set(value)
}

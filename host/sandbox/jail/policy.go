package jail

import (
	seccomp "github.com/elastic/go-seccomp-bpf"

	"instar/job/wall"
)

// policy is the filter that lets the calls of the table through, answers those
// that it refuses without harm, and kills the process for any other.
func policy() seccomp.Policy {
	allow := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	groups := []seccomp.SyscallGroup{}
	for c := range wall.Calls() {
		switch {
		case c.Refusal != 0:
			answer := seccomp.ActionErrno | seccomp.Action(c.Refusal)
			groups = append(groups, seccomp.SyscallGroup{Action: answer, Names: []string{c.Name}})
		case c.Start:
		default:
			add(&allow, c)
		}
	}
	return seccomp.Policy{
		DefaultAction: seccomp.ActionKillProcess,
		Syscalls:      append([]seccomp.SyscallGroup{allow}, groups...),
	}
}

func add(g *seccomp.SyscallGroup, c *wall.Call) {
	ways := []seccomp.ArgumentConditions{nil}
	for i := range c.Args {
		ways = product(ways, conditions(&c.Args[i]))
	}
	for _, way := range ways {
		if len(way) == 0 {
			g.Names = append(g.Names, c.Name)
			continue
		}
		g.NamesWithCondtions = append(g.NamesWithCondtions, seccomp.NameWithConditions{Name: c.Name, Conditions: way})
	}
}

// conditions returns what a says as alternatives. A filter sees numbers: which
// file a descriptor is, and where its ceiling is, the kernel keeps track of (how
// it was opened, and RLIMIT_FSIZE).
func conditions(a *wall.Arg) []seccomp.ArgumentConditions {
	is := func(operation seccomp.Operation, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: uint32(a.Index), Operation: operation, Value: value}
	}
	switch {
	case a.OneOf != nil:
		var ways []seccomp.ArgumentConditions
		for _, v := range a.OneOf {
			ways = append(ways, seccomp.ArgumentConditions{is(seccomp.Equal, v.Value)})
		}
		return ways
	case a.Bits != nil:
		return []seccomp.ArgumentConditions{{is(seccomp.BitsNotSet, ^wall.Mask(a.Bits))}}
	case a.Descriptor == wall.Control:
		return []seccomp.ArgumentConditions{{is(seccomp.Equal, wall.ControlDescriptor)}}
	case a.Descriptor&(wall.Control|wall.Standard) == 0 && a.Descriptor != 0:
		return []seccomp.ArgumentConditions{{is(seccomp.GreaterThan, wall.ControlDescriptor), is(seccomp.LessThan, wall.MaxDescriptors)}}
	case a.Descriptor != 0:
		return []seccomp.ArgumentConditions{{is(seccomp.LessThan, wall.MaxDescriptors)}}
	}
	return []seccomp.ArgumentConditions{nil}
}

// product returns each of a followed by each of b.
func product(a, b []seccomp.ArgumentConditions) []seccomp.ArgumentConditions {
	var all []seccomp.ArgumentConditions
	for _, x := range a {
		for _, y := range b {
			all = append(all, append(x[:len(x):len(x)], y...))
		}
	}
	return all
}

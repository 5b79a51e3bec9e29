package jail

import (
	"slices"

	"golang.org/x/sys/unix"

	"instar/host/sandbox/seccomp"
	"instar/job/wall"
)

// kernelCalls are those that nobody asks for: by it the kernel goes on with a call
// that was interrupted when the process was stopped or frozen.
var kernelCalls = []seccomp.Rule{{Number: unix.SYS_RESTART_SYSCALL}}

// policy is the filter that lets the calls of the table through, answers those
// that it refuses without harm, and kills the process for any other.
func policy() []seccomp.Rule {
	var rules []seccomp.Rule
	for c := range wall.Calls() {
		if c.Start {
			continue
		}
		ways := [][]seccomp.Condition{nil}
		for i := range c.Args {
			ways = product(ways, conditions(&c.Args[i]))
		}
		rules = append(rules, seccomp.Rule{Number: uint32(c.Number), Errno: c.Refusal, Ways: ways})
	}
	for _, extra := range slices.Concat(kernelCalls, cCalls, raceCalls) {
		rules = merge(rules, extra)
	}
	return rules
}

// merge adds a rule, or the ways of a rule to the one that there is.
func merge(rules []seccomp.Rule, extra seccomp.Rule) []seccomp.Rule {
	for i := range rules {
		if rules[i].Number == extra.Number {
			rules[i].Ways = append(rules[i].Ways, extra.Ways...)
			return rules
		}
	}
	return append(rules, extra)
}

// conditions returns what a says as alternatives. A filter sees numbers: which
// file a descriptor is, and where its ceiling is, the kernel keeps track of (how
// it was opened, and RLIMIT_FSIZE).
func conditions(a *wall.Arg) []seccomp.Condition {
	const control = wall.ControlDescriptor
	switch {
	case a.OneOf != nil:
		var ways []seccomp.Condition
		for _, v := range a.OneOf {
			ways = append(ways, seccomp.Equal(a.Index, v.Value))
		}
		return ways
	case a.Bits != nil:
		return []seccomp.Condition{seccomp.Only(a.Index, wall.Mask(a.Bits))}
	case a.Descriptor == wall.Control:
		return []seccomp.Condition{seccomp.Equal(a.Index, control)}
	case a.Descriptor == 0:
		return nil
	case a.Descriptor&(wall.Control|wall.Standard) == 0:
		return []seccomp.Condition{seccomp.Between(a.Index, control+1, wall.MaxDescriptors-1)}
	}
	return []seccomp.Condition{seccomp.Between(a.Index, 0, wall.MaxDescriptors-1)}
}

// product returns each of the ways with each of the alternatives added to it.
func product(ways [][]seccomp.Condition, alternatives []seccomp.Condition) [][]seccomp.Condition {
	if len(alternatives) == 0 {
		return ways
	}
	var all [][]seccomp.Condition
	for _, way := range ways {
		for _, c := range alternatives {
			all = append(all, append(way[:len(way):len(way)], c))
		}
	}
	return all
}

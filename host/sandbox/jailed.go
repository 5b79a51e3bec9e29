package sandbox

import (
	"strings"

	"instar/host/sandbox/jail"
)

// jailed is a worker behind the process wall.
type jailed struct {
	*plain
	missing string // of the namespaces
}

// newJailed prepares workers behind the process wall, the one with most
// namespaces first.
func newJailed(o Options) ([]process, error) {
	if err := jail.Check(); err != nil {
		return nil, err
	}
	attempts, err := jail.Commands(o.Executable, jail.Config{Memory: o.Memory})
	if err != nil {
		return nil, err
	}
	var ways []process
	for _, a := range attempts {
		ways = append(ways, &jailed{plain: newPlain(a.Cmd, o), missing: a.Missing})
	}
	return ways, nil
}

func (j *jailed) features(tried []error) []Feature {
	spaces := Feature{Name: "namespaces", Missing: j.missing}
	if j.missing != "" {
		for _, err := range tried {
			spaces.Missing += "; " + strings.TrimSpace(reason(err))
		}
		spaces.Hint = "let this user, or this container, make user namespaces"
	}
	return append([]Feature{spaces}, jailFeatures()...)
}

// jailFeatures returns what is known before a jail is tried.
func jailFeatures() []Feature {
	var features []Feature
	for _, f := range jail.Features() {
		features = append(features, Feature(f))
	}
	return features
}

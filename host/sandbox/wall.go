package sandbox

import "fmt"

// A Wall is what stands between a worker and the machine.
type Wall string

// The walls.
const (
	Auto Wall = "auto" // KVM where it can be used, else Jail
	KVM  Wall = "kvm"  // a microVM without an operating system
	Jail Wall = "jail" // a process locked in by seccomp, Landlock and namespaces
	None Wall = "none" // a process of its own, with the user's rights
)

// Walls are the values that ParseWall takes, in the order of help texts.
var Walls = []Wall{Auto, KVM, Jail, None}

// ParseWall returns the wall of that name.
func ParseWall(name string) (Wall, error) {
	for _, w := range Walls {
		if name == string(w) {
			return w, nil
		}
	}
	return "", fmt.Errorf("invalid sandbox %q: use auto, kvm, jail or none", name)
}

// An UnavailableError says that a wall was asked for which cannot be had here.
type UnavailableError struct {
	Wall Wall
	Err  error  // why
	Hint string // what to do about it; may be empty
}

func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("sandbox %s cannot be used: %v", e.Wall, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *UnavailableError) Unwrap() error { return e.Err }

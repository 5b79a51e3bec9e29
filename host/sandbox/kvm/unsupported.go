//go:build !(linux && amd64)

package kvm

import (
	"errors"
	"fmt"
	"os"
)

var errPlatform = &UnusableError{Err: errors.New("microVMs need Linux on x86-64")}

// Check reports that there are no microVMs on this platform.
func Check(string) error { return errPlatform }

// Main reports that there are no microVMs on this platform.
func Main() int {
	fmt.Fprintln(os.Stderr, errPlatform)
	return 1
}

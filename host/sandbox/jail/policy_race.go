//go:build race

package jail

import (
	"golang.org/x/sys/unix"

	"instar/host/sandbox/seccomp"
)

// raceCalls are what the race detector needs in tests: it maps its shadow of the
// memory where that is used.
var raceCalls = []seccomp.Rule{
	{Number: unix.SYS_MMAP, Ways: [][]seccomp.Condition{{
		seccomp.Only(2, unix.PROT_READ|unix.PROT_WRITE),
		seccomp.Equal(3, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_ANON|unix.MAP_NORESERVE),
	}}},
}

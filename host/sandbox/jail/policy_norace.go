//go:build !race

package jail

import "instar/host/sandbox/seccomp"

// See the file for programs with the race detector.
var raceCalls []seccomp.Rule

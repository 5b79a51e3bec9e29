//go:build !cgo

package jail

import "instar/host/sandbox/seccomp"

// See the file for programs that are built with cgo.
const cLibrary = false

var cCalls []seccomp.Rule

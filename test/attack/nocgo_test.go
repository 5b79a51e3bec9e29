//go:build linux && amd64 && !cgo

package attack

const builtWithCgo = false

var otherwise map[string][]string

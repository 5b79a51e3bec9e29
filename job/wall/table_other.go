//go:build !amd64

package wall

var archCalls []Call

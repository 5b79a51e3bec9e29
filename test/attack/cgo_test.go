//go:build linux && amd64 && cgo

package attack

// A program that is built with cgo needs more calls, and dies in another way
// when it is refused a thread.
const builtWithCgo = true

var otherwise = map[string][]string{
	"clone3":             expect("ENOSYS"),
	"set_robust_list":    expect("ok 0"),
	"start 1000 threads": expect(killed, crashed),
}

// Command instar copies and converts virtual-disk images that nobody should
// trust. The same program is the host that the user starts and the worker
// behind the wall: the name that it is started by says which.
package main

import (
	"fmt"
	"os"

	"instar/guest"
	"instar/host/cli"
	"instar/host/sandbox/jail"
	"instar/host/sandbox/kvm"
)

// version is set when the program is linked; see the Makefile.
var version = "0.1.0-dev"

// control is the descriptor of the control channel in every worker.
const control = 3

func main() {
	code := run()
	count()
	os.Exit(code)
}

func run() int {
	switch os.Args[0] {
	case kvm.VMMName:
		return kvm.Main()
	case jail.Name:
		if err := jail.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return guest.Main(control)
	case kvm.GuestName:
		return guest.Main(control)
	}
	return cli.Main(os.Args, version)
}

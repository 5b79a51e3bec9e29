// Command guest is a program for the tests: started as the VMM it is the VMM,
// and in the machine it obeys one script, whose name comes as the format of an
// inspection.
package main

import (
	"fmt"
	"os"
	"strings"

	"instar/host/sandbox/kvm"
	"instar/job"
)

func main() {
	switch os.Args[0] {
	case kvm.VMMName:
		os.Exit(kvm.Main())
	case kvm.GuestName:
		os.Exit(play(job.NewConn(3)))
	}
	fmt.Fprintln(os.Stderr, "this program is started by the tests")
	os.Exit(2)
}

// play says hello, takes descriptors until it is told what to do, and does it.
func play(c *job.Conn) int {
	if err := c.Send(&job.Message{Hello: &job.Hello{}}, -1); err != nil {
		return 3
	}
	fds := map[int]int{}
	for {
		m, fd, err := c.Receive()
		switch {
		case err != nil:
			return 0
		case m.Grant != nil:
			fds[m.Grant.ID] = fd
		case m.Revoke != nil:
		case m.Inspect != nil:
			answer := obey(m.Inspect.Format, fds)
			if answer == "" {
				answer = "done"
			}
			if err := c.Send(&job.Message{Error: &job.Error{Kind: job.ErrRead, Message: answer}}, -1); err != nil {
				return 3
			}
		}
	}
}

func obey(order string, fds map[int]int) string {
	if call, ok := strings.CutPrefix(order, "raw "); ok {
		return rawCall(call, fds)
	}
	script, ok := scripts[order]
	if !ok {
		return "no such script"
	}
	return script(fds)
}

package jail

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Name is the argv[0] by which the program knows that it is to call [Enter]
// and then to be a worker.
const Name = "instar[jail]"

// DefaultMemory is what a worker may use if nothing else is said, in bytes.
const DefaultMemory = 256 << 20

// Config says what the worker gets.
type Config struct {
	// Memory is what the worker may use, in bytes, on top of what the Go
	// runtime sets up for itself; 0 is DefaultMemory.
	Memory int64
}

// An Attempt is one way to start the worker.
type Attempt struct {
	// Cmd is the program under the name of Name. Descriptor 3, the first of
	// its ExtraFiles, has to be the worker's end of the control channel.
	Cmd *exec.Cmd
	// Missing is what this way lacks of the namespaces; empty if nothing.
	Missing string
}

// nobody is the user and group as which a worker of root's runs.
const nobody = 65534

// otherSpaces are the namespaces besides the user namespace, which an ordinary
// user needs to be granted them. What package psx needs for Landlock where there
// is a C library is its own threads in /proc.
func otherSpaces() uintptr {
	const always = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if cLibrary {
		return always
	}
	return always | unix.CLONE_NEWNS | unix.CLONE_NEWPID
}

// Commands returns the ways to start the program exe as a worker, the strongest
// first: which of them the kernel grants is known when one has been started and
// says hello. The last one does without namespaces.
func Commands(exe string, c Config) ([]Attempt, error) {
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	type way struct {
		attr    syscall.SysProcAttr
		missing string
	}
	ways := []way{{attr: inUserNamespace(os.Geteuid(), os.Getegid())}}
	if os.Geteuid() == 0 {
		ways = append(ways, way{syscall.SysProcAttr{Cloneflags: otherSpaces()}, "no user namespace"})
	}
	ways = append(ways, way{missing: "none: seccomp and Landlock alone"})

	var attempts []Attempt
	for _, w := range ways {
		cmd, err := command(exe, order{Memory: c.Memory, Spaces: w.attr.Cloneflags})
		if err != nil {
			return nil, err
		}
		w.attr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr = &w.attr
		attempts = append(attempts, Attempt{Cmd: cmd, Missing: w.missing})
	}
	return attempts, nil
}

// inUserNamespace has a worker run in a user namespace, where it is all-powerful
// until it has locked itself in, and outside of it as the same user; for root,
// as nobody.
func inUserNamespace(uid, gid int) syscall.SysProcAttr {
	root := uid == 0
	if root {
		uid, gid = nobody, nobody
	}
	return syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | otherSpaces(),
		UidMappings:                []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{HostID: gid, Size: 1}},
		GidMappingsEnableSetgroups: root,
		Credential:                 &syscall.Credential{NoSetGroups: !root},
	}
}

// An order is what the worker is told by its argument.
type order struct {
	Memory int64   `json:"memory"`
	Spaces uintptr `json:"spaces"` // the namespaces that it is in, as flags of clone
}

func command(exe string, o order) (*exec.Cmd, error) {
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{Name, string(arg)}
	cmd.Env = environment(o.Memory)
	return cmd, nil
}

// environment is the worker's: nothing of the user's, only what the Go runtime
// has to know before its first line of Go. No signals to preempt goroutines by,
// for which the table of calls has no room; no look from time to time for how
// many processors there are; and a heap that stays clear of the limit.
func environment(memory int64) []string {
	return []string{
		"GODEBUG=asyncpreemptoff=1,decoratemappings=0",
		fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)),
		fmt.Sprintf("GOMEMLIMIT=%d", memory/4*3),
	}
}

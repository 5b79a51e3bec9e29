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
	uid, gid := os.Geteuid(), os.Getegid()
	root := uid == 0
	if root {
		uid, gid = nobody, nobody
	}
	spaces := []syscall.SysProcAttr{{
		Cloneflags:                 unix.CLONE_NEWUSER | otherSpaces(),
		UidMappings:                []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{HostID: gid, Size: 1}},
		GidMappingsEnableSetgroups: root,
		Credential:                 &syscall.Credential{NoSetGroups: !root},
	}}
	missing := []string{""}
	if root {
		spaces = append(spaces, syscall.SysProcAttr{Cloneflags: otherSpaces()})
		missing = append(missing, "no user namespace")
	}
	spaces = append(spaces, syscall.SysProcAttr{})
	missing = append(missing, "none: seccomp and Landlock alone")

	attempts := make([]Attempt, len(spaces))
	for i := range spaces {
		cmd, err := command(exe, order{Memory: c.Memory, Spaces: spaces[i].Cloneflags})
		if err != nil {
			return nil, err
		}
		spaces[i].Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr = &spaces[i]
		attempts[i] = Attempt{Cmd: cmd, Missing: missing[i]}
	}
	return attempts, nil
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

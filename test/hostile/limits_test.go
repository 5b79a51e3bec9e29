package hostile

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"instar/internal/program"
)

// worst is what the runs took at the most.
var worst struct {
	sync.Mutex
	memory       int64 // bytes
	time         time.Duration
	hungry, slow string
}

// meterVariable has the test program run its arguments, and write what they took
// to descriptor 3. A process begins with the memory that its parent had at the
// most, and the tests have more of it than is to be counted.
const meterVariable = "INSTAR_HOSTILE_METER"

// A usage is what a run took: of memory, what the greatest of its processes had
// at the most, the machine of a microVM included.
type usage struct {
	Memory int64
	Time   time.Duration
}

func meter(args []string) int {
	runtime.LockOSThread() // whose end is what the child is told of
	os.Unsetenv(meterVariable)
	syscall.CloseOnExec(3)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	state := cmd.ProcessState
	u := usage{state.SysUsage().(*syscall.Rusage).Maxrss << 10, state.UserTime() + state.SystemTime()}
	if err := json.NewEncoder(os.NewFile(3, "usage")).Encode(u); err != nil {
		return 125
	}
	if !state.Exited() {
		return 128 + int(state.Sys().(syscall.WaitStatus).Signal())
	}
	return state.ExitCode()
}

// account fails a run that took more of the processor or of memory than it may.
// Of memory that is what the greatest of its processes had, or what was seen of
// all of them at a time.
func (d *folder) account(args []string, u usage) {
	d.t.Helper()
	if u.Time > timeLimit {
		d.t.Errorf("%q: took %v of the processor", args, u.Time)
	}
	if u.Memory > memoryLimit {
		d.t.Errorf("%q: took %d MiB", args, u.Memory>>20)
	}
	worst.Lock()
	defer worst.Unlock()
	what := d.t.Name() + ": " + strings.Join(args, " ")
	if u.Time > worst.time {
		worst.time, worst.slow = u.Time, what
	}
	if u.Memory > worst.memory {
		worst.memory, worst.hungry = u.Memory, what
	}
}

// watchMemory looks at what a process and those that it started have in memory,
// some times a second; what it returns ends that, and says the most at a time.
func watchMemory(pid int) func() int64 {
	end, done := make(chan bool), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, resident(pid))
			case <-end:
				done <- most
				return
			}
		}
	}()
	return func() int64 { end <- true; return <-done }
}

// resident returns the bytes in memory of a process and its descendants.
func resident(pid int) int64 {
	var total int64
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		var size, pages int64
		p, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", queue[0]))
		fmt.Sscan(string(p), &size, &pages)
		total += pages * int64(os.Getpagesize())
		queue = append(queue, program.Children(queue[0])...)
	}
	return total
}

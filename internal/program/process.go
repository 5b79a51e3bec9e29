package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Walls returns the walls that can be had here; there always is a jail.
var Walls = sync.OnceValue(func() []string {
	if exec.Command(Instar(), "info", "--sandbox=kvm", "-f", "raw", Instar()).Run() != nil {
		return []string{"jail"}
	}
	return []string{"jail", "kvm"}
})

// Children returns the processes that a process started and has not waited for.
func Children(pid int) []int {
	var list []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range files {
		b, _ := os.ReadFile(name) // a thread may have ended
		for word := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(word); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// Until waits for f to say that something has come about.
func Until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it does not come so far", what)
		}
	}
}

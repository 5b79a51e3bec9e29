package kvm

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the VMM when the process that started it
// ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

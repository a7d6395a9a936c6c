package main

import (
	"os/exec"
	"syscall"
)

// own makes a program end with this one, however this one ends, and keeps the
// terminal's Ctrl-C from it: the demonstration ends its programs in order.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}

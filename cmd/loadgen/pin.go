package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// The cores of a pinned measurement: the gateway alone on one, the load and
// the simulator on the other.
const (
	gatewayCore = 0
	loadCore    = 1
	anyCore     = -1
)

// startOn starts a command on a core. A process inherits its affinity from the
// thread that starts it, so that the Go runtime in it sees one processor from
// the beginning.
func startOn(core int, cmd *exec.Cmd) error {
	if core == anyCore {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("get affinity: %w", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to core %d: %w", core, err)
	}
	startErr := cmd.Start()
	if err := unix.SchedSetaffinity(0, &before); err != nil {
		return fmt.Errorf("restore affinity: %w", err)
	}
	return startErr
}

// pinSelf moves all threads of this process to a core; new ones follow.
func pinSelf(core int) error {
	if core == anyCore {
		return nil
	}
	runtime.GOMAXPROCS(1)
	return pinProcess(os.Getpid(), core)
}

// pinTree moves a process and those below it to a core; what they start follows.
func pinTree(root, core int) error {
	for _, pid := range append(descendants(root), root) {
		if err := pinProcess(pid, core); err != nil {
			return err
		}
	}
	return nil
}

// pinProcess moves all threads of a process to a core.
func pinProcess(pid, core int) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	var one unix.CPUSet
	for n := range runtime.NumCPU() {
		if core == anyCore || core == n {
			one.Set(n)
		}
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &one); err != nil && err != unix.ESRCH {
			return fmt.Errorf("pin process %d to core %d: %w", pid, core, err)
		}
	}
	return nil
}

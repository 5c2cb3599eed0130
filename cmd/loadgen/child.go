package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// child is a process of ours: simulator, baseline or gateway.
type child struct {
	name string
	addr string // where it listens: host:port
	pid  int

	cmd    *exec.Cmd
	log    *os.File      // what it writes; a pipe would cost us time
	exited chan struct{} // closed when the process has ended
}

// Times for children to begin and to end. A gateway may first set a database
// up, and drains before it ends.
const (
	beginTimeout = 60 * time.Second
	beginPoll    = 20 * time.Millisecond
	endTimeout   = 45 * time.Second
	tailBytes    = 4 << 10
)

// addrPattern finds an address of our own machine.
var addrPattern = regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):\d+`)

// startChild starts a program on a core and waits until it writes a line with
// the mark and an address. Its output goes to a file in dir.
func startChild(ctx context.Context, dir, name, mark string, core int, cmd *exec.Cmd) (*child, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is for us; we end it in order
	if err := startOn(core, cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	c.pid = cmd.Process.Pid
	go func() { // ends when the process does
		defer close(c.exited)
		_ = cmd.Wait() // how it ended is told by its last lines
	}()
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	for c.alive() == nil {
		if c.addr = c.announced(mark); c.addr != "" {
			return c, nil
		}
		if !sleepUntil(ctx, time.Now().Add(beginPoll)) {
			break
		}
	}
	err = fmt.Errorf("%s didn't say where it listens; it said:\n%s", name, c.said())
	c.stop()
	return nil, err
}

// announced is the address in the first line with the mark.
func (c *child) announced(mark string) string {
	for line := range strings.Lines(c.said()) {
		if strings.Contains(line, mark) {
			if addr := addrPattern.FindString(line); addr != "" {
				return addr
			}
		}
	}
	return ""
}

// said is the end of what the process has written.
func (c *child) said() string {
	info, err := c.log.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(info.Size(), tailBytes))
	n, _ := c.log.ReadAt(b, info.Size()-int64(len(b))) // less is still something
	return string(b[:n])
}

// alive returns an error if the process has ended.
func (c *child) alive() error {
	select {
	case <-c.exited:
		return fmt.Errorf("%s has ended; it said:\n%s", c.name, c.said())
	default:
		return nil
	}
}

// stop ends the process as an operator would, or else by force.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-c.exited:
	case <-time.After(endTimeout):
		_ = c.cmd.Process.Kill() // as above
		<-c.exited
	}
	_ = c.log.Close() // it was for reading
}

// self is a command that runs this program.
func self(args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	return exec.Command(path, args...), nil
}

// orphanLimit ends our children if we die before we can.
const orphanLimit = "-for=2h"

func startSim(ctx context.Context, dir string, core int) (*child, error) {
	cmd, err := self("sim", orphanLimit)
	if err != nil {
		return nil, err
	}
	return startChild(ctx, dir, "simulator", announcement, core, cmd)
}

func startProxy(ctx context.Context, dir string, core, procs int, upstream string) (*child, error) {
	cmd, err := self("proxy", orphanLimit, "-upstream", upstream)
	if err != nil {
		return nil, err
	}
	cmd.Env = withProcs(os.Environ(), procs)
	return startChild(ctx, dir, "baseline", announcement, core, cmd)
}

// withProcs sets GOMAXPROCS, unless procs is 0.
func withProcs(env []string, procs int) []string {
	if procs == 0 {
		return env
	}
	return append(env, fmt.Sprintf("GOMAXPROCS=%d", procs))
}

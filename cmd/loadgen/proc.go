package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on
// every Linux that there is.
const clockTick = 10 * time.Millisecond

// usage is what a process, or a tree of them, has used.
type procUsage struct {
	cpu time.Duration
	rss int64 // bytes
}

// stat is what is needed of /proc/PID/stat (proc(5)).
type stat struct {
	parent        int
	self, reaped  time.Duration // user and system time: its own, and that of children that it has waited for
	residentPages int64
}

var errStat = errors.New("not the form of /proc/PID/stat")

// parseStat reads a line of /proc/PID/stat. The name in parentheses may hold
// anything, spaces and parentheses too.
func parseStat(line []byte) (stat, error) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, errStat
	}
	// The first of these is field 3, the state.
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) < 22 {
		return stat{}, errStat
	}
	var numbers [6]int64
	for i, field := range [...]int{4, 14, 15, 16, 17, 24} {
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("%w: field %d: %w", errStat, field, err)
		}
		numbers[i] = n
	}
	return stat{
		parent: int(numbers[0]), self: time.Duration(numbers[1]+numbers[2]) * clockTick,
		reaped: time.Duration(numbers[3]+numbers[4]) * clockTick, residentPages: numbers[5],
	}, nil
}

func readStat(pid int) (stat, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read a process's use: %w", err)
	}
	return parseStat(line)
}

// watched is a process whose use is shown.
type watched struct {
	name string
	pid  int
	// tree: with all its descendants, those that have ended too. Pages that
	// they share are counted for one of them only.
	tree bool
}

func (w watched) usage() (procUsage, error) {
	s, err := readStat(w.pid)
	if err != nil {
		return procUsage{}, err
	}
	if !w.tree {
		return procUsage{s.self, s.residentPages * int64(os.Getpagesize())}, nil
	}
	var u procUsage
	for _, pid := range append(descendants(w.pid), w.pid) {
		s, err := readStat(pid)
		if err != nil {
			continue // it has ended, and its parent has its time
		}
		u.cpu += s.self + s.reaped
		u.rss += proportionalBytes(pid, s)
	}
	return u, nil
}

// descendants are the pids of all processes below one.
func descendants(root int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	all := children[root]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// proportionalBytes is a process's share of resident memory (Pss); where that
// can't be read, all of it.
func proportionalBytes(pid int, s stat) int64 {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil {
		for line := range strings.Lines(string(rollup)) {
			var kb int64
			if _, err := fmt.Sscanf(line, "Pss: %d kB", &kb); err == nil {
				return kb << 10
			}
		}
	}
	return s.residentPages * int64(os.Getpagesize())
}

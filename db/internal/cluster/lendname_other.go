//go:build !linux

package cluster

import "os/exec"

// lendName does nothing: only Linux has user namespaces.
func lendName(*exec.Cmd, Account) {}

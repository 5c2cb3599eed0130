package cluster

import (
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// lendName lets initdb run as a UID that has no passwd entry, which it insists
// on: in a user namespace the UID goes by the number of a user that has one. The
// files still belong to the real UID. Where the kernel forbids such namespaces,
// initdb cannot be started and the error says so.
func lendName(cmd *exec.Cmd, account Account) {
	lent := firstNamed("nobody", "daemon", "bin", "www-data")
	if lent == 0 {
		return // initdb will say what is missing
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: lent, HostID: account.UID, Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: lent, HostID: account.GID, Size: 1}}
	if account.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(lent), Gid: uint32(lent), NoSetGroups: true}
	}
}

// firstNamed returns the UID of the first of the users that exists, 0 if none does.
func firstNamed(names ...string) int {
	for _, name := range names {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if uid, err := strconv.Atoi(known.Uid); err == nil && uid != 0 {
			return uid
		}
	}
	return 0
}

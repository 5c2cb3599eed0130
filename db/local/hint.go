package local

import (
	"fmt"
	"strings"

	"manti/db/internal/cluster"
)

// hints say what to do about what initdb or a starting server prints.
func hints() []hint {
	return []hint{
		{"could not look up effective user ID", "this user id has no name on this machine, which initdb needs: add it to /etc/passwd, run manti as a user that has one, or set DATABASE_URL"},
		{"No space left on device", "the disk, or /dev/shm in a container (docker run --shm-size=256m), is full: make room, choose another folder (--data, MANTI_DATA), or set DATABASE_URL"},
		{"pre-existing shared memory block", "end the processes of the server before, which still use the cluster"},
		{"shared memory", "there is not enough shared memory for a server of 128 MB: give it more, or set DATABASE_URL"},
		{"Read-only file system", "choose a folder that can be written (--data, MANTI_DATA), or set DATABASE_URL"},
		{"has wrong ownership", "run manti as the user whom the folder belongs to, or choose another (--data, MANTI_DATA)"},
		{"incompatible with server", "use the PostgreSQL that made the cluster (MANTI_PG_BIN), or set DATABASE_URL"},
		{"ermission denied", "the server's user must be able to enter and write the data directory and to read PostgreSQL's programs: choose another folder (--data, MANTI_DATA), or set DATABASE_URL"},
	}
}

type hint struct{ says, advice string }

// withHint adds the first advice that fits the error.
func withHint(err error, account cluster.Account) error {
	for _, h := range hints() {
		if strings.Contains(err.Error(), h.says) {
			return fmt.Errorf("%w\n%s (PostgreSQL runs as %s)", err, h.advice, account)
		}
	}
	return err
}

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// InitConfig says how to make a data folder.
type InitConfig struct {
	Programs Programs
	Account  Account
	// DataDir must not exist or be an empty folder of the account; its parent must
	// be writable to the account if it doesn't exist.
	DataDir string
	// Superuser is the name of the first role, and Password its password. Without
	// a password connections are trusted: only for a server behind a private socket.
	Superuser string
	Password  string
	// Throwaway leaves out checksums and syncing.
	Throwaway bool
}

// initWaitDelay is how long initdb may take to end after it was interrupted.
const initWaitDelay = 5 * time.Second

// Init runs initdb. On error DataDir may be half made; it is the caller's to remove.
func Init(ctx context.Context, cfg InitConfig) error {
	args := []string{"-D", cfg.DataDir, "-U", cfg.Superuser, "--locale=C", "--encoding=UTF8"}
	if cfg.Password == "" {
		args = append(args, "--auth=trust")
	} else {
		file, err := passwordFile(cfg)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		args = append(args, "--auth=scram-sha-256", "--pwfile="+file)
	}
	if cfg.Throwaway {
		args = append(args, "--no-sync")
	} else {
		args = append(args, "--data-checksums")
	}
	output, err := cfg.Account.Run(ctx, cfg.Account.Command(filepath.Dir(cfg.DataDir), cfg.Programs.Path("initdb"), args...))
	if err != nil {
		return fmt.Errorf("initdb: %w%s", err, quoteTail(output))
	}
	return nil
}

// Run runs a command of the account to its end and returns what it printed. When
// ctx ends first, the command's process group is interrupted. An account without
// a name is lent one if the system allows it (see lendName).
func (a Account) Run(ctx context.Context, cmd *exec.Cmd) (output string, err error) {
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if a.Name == "" {
		named := *cmd
		attr := *cmd.SysProcAttr
		named.SysProcAttr = &attr
		lendName(&named, a)
		if err := runCommand(ctx, &named); !isForbidden(err) {
			return printed.String(), err
		}
	}
	err = runCommand(ctx, cmd)
	return printed.String(), err
}

// isForbidden reports whether a command could not even be started as asked:
// user namespaces are switched off, used up or unknown.
func isForbidden(err error) bool {
	var start *startError
	return errors.As(err, &start)
}

// startError is an error before the program ran.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

// passwordFile writes the password where only the account reads it.
func passwordFile(cfg InitConfig) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(cfg.DataDir), ".pw-") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write password file: %w", err)
	}
	_, err = file.WriteString(cfg.Password + "\n")
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = cfg.Account.Own(file.Name())
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error says why
		return "", fmt.Errorf("write password file: %w", err)
	}
	return file.Name(), nil
}

// runCommand runs cmd until it ends; when ctx ends first, its process group is interrupted.
func runCommand(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return &startError{err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	interruptGroup(cmd.Process.Pid)
	select {
	case <-ended:
	case <-time.After(initWaitDelay):
		killGroup(cmd.Process.Pid)
		<-ended
	}
	return ctx.Err()
}

// maxTailLines is how much of a log an error quotes.
const maxTailLines = 15

// LastLines returns the last lines of a program's output.
func LastLines(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) > maxTailLines {
		lines = lines[len(lines)-maxTailLines:]
	}
	return strings.Join(lines, "\n  ")
}

// quoteTail formats the last lines of a program's output for an error.
func quoteTail(output string) string {
	tail := LastLines(output)
	if tail == "" {
		return ""
	}
	return "; it said:\n  " + tail
}

package cluster

import (
	"bytes"
	"context"
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
	var output bytes.Buffer
	cmd := cfg.Account.command(filepath.Dir(cfg.DataDir), cfg.Programs.Path("initdb"), args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if cfg.Account.Name == "" {
		lendName(cmd, cfg.Account)
	}
	if err := runCommand(ctx, cmd); err != nil {
		return fmt.Errorf("initdb: %w%s", err, quoteTail(output.String()))
	}
	return nil
}

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
		return err
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

// quoteTail formats the last lines of a program's output for an error.
func quoteTail(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) > maxTailLines {
		lines = lines[len(lines)-maxTailLines:]
	}
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	return "; it said:\n  " + strings.Join(lines, "\n  ")
}

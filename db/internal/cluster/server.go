package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SocketPort is the number in the socket's file name of a server that listens on nothing else.
const SocketPort = 5432

// MaxSocketDir is the longest folder for a socket: sockaddr_un holds 104 bytes on
// macOS (108 on Linux), of which "/.s.PGSQL.5432" and the final zero take 15.
const MaxSocketDir = 104 - 15

// Address says where a server listens: on a socket in a folder, or on 127.0.0.1.
type Address struct {
	SocketDir string // "" for TCP
	Port      int    // SocketPort with a socket
}

// Settings returns the server parameters that make it listen there and nowhere else.
func (a Address) Settings() map[string]string {
	if a.SocketDir != "" {
		return map[string]string{
			"listen_addresses": "", "port": strconv.Itoa(a.Port),
			"unix_socket_directories": a.SocketDir, "unix_socket_permissions": "0700",
		}
	}
	return map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(a.Port), "unix_socket_directories": "",
	}
}

// URL returns how to connect there.
func (a Address) URL(user, password, database string) string {
	target := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/" + database}
	if password == "" {
		target.User = url.User(user)
	}
	query := url.Values{"sslmode": {"disable"}}
	if a.SocketDir != "" {
		query.Set("host", a.SocketDir)
		query.Set("port", strconv.Itoa(a.Port))
	} else {
		target.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	target.RawQuery = query.Encode()
	return target.String()
}

// FreePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// StartConfig says how to start a server on a data folder.
type StartConfig struct {
	Programs Programs
	Account  Account
	DataDir  string
	// LogFile takes what the server prints; it is appended to.
	LogFile string
	// Settings are server parameters, which stand above those of postgresql.conf.
	Settings map[string]string
}

// Args returns the arguments of the postgres program.
func (c StartConfig) Args() []string {
	args := []string{"-D", c.DataDir}
	names := make([]string, 0, len(c.Settings))
	for name := range c.Settings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = append(args, "-c", name+"="+c.Settings[name])
	}
	return args
}

// Server is a running server, child of this process. Its methods may be called concurrently.
type Server struct {
	cmd     *exec.Cmd
	logFile string
	logFrom int64 // where this run's output begins
	ended   chan struct{}
	waitErr error // written before ended is closed
}

// Start starts a server and returns at once; Ready waits until it serves.
func Start(cfg StartConfig) (*Server, error) {
	log, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close() // the server has its own descriptor
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	cmd := cfg.Account.Command(cfg.DataDir, cfg.Programs.Path("postgres"), cfg.Args()...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s as %s: %w", cmd.Path, cfg.Account, err)
	}
	server := &Server{cmd: cmd, logFile: cfg.LogFile, logFrom: info.Size(), ended: make(chan struct{})}
	go func() { // ends with the server
		server.waitErr = cmd.Wait()
		close(server.ended)
	}()
	return server, nil
}

// PID returns the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Ended is closed when the server's process has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Status says how the server ended ("signal: killed"), once Ended is closed.
func (s *Server) Status() string {
	<-s.ended
	return s.cmd.ProcessState.String()
}

// Ready waits until a connection to target works, the server ends or ctx does.
func (s *Server) Ready(ctx context.Context, target string) error {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with cancel
		select {
		case <-s.ended:
			cancel()
		case <-stop.Done():
		}
	}()
	err := WaitReady(stop, target)
	select {
	case <-s.ended:
		return fmt.Errorf("the server ended while starting (%v)%s", s.waitErr, quoteTail(TailOf(s.logFile, s.logFrom)))
	default:
	}
	if err != nil {
		return fmt.Errorf("the server doesn't answer: %w%s", err, quoteTail(TailOf(s.logFile, s.logFrom)))
	}
	return nil
}

// Signals that end a server.
const (
	Fast      = syscall.SIGINT  // cut connections, roll back, write a checkpoint
	Immediate = syscall.SIGQUIT // stop at once; the next start recovers
)

// Signal sends one of the signals to the server.
func (s *Server) Signal(signal syscall.Signal) error {
	err := s.cmd.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// readyPoll is how often a starting server is asked.
const readyPoll = 25 * time.Millisecond

// WaitReady tries to connect to target until it works or ctx ends. It gives up
// early only when the server refuses the login.
func WaitReady(ctx context.Context, target string) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		err := ping(ctx, target)
		if err == nil {
			return nil
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && (pgErr.Code[:2] == "28" || pgErr.Code == "3D000") {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// pingTimeout bounds one attempt to connect.
const pingTimeout = 5 * time.Second

func ping(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, target)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// TailOf returns the end of a log, but nothing before offset from.
func TailOf(path string, from int64) string {
	const most = 8 << 10
	file, err := os.Open(path)
	if err != nil {
		return "" // there is nothing to quote
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		from = max(from, info.Size()-most)
	}
	buf := make([]byte, most)
	n, _ := file.ReadAt(buf, from) // a short read is the rule
	return string(buf[:n])
}

// LogName is the name of a server's log in its folder.
const LogName = "server.log"

// SocketPath returns the socket's file.
func (a Address) SocketPath() string {
	return filepath.Join(a.SocketDir, ".s.PGSQL."+strconv.Itoa(a.Port))
}

func interruptGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGINT) } // gone is as good
func killGroup(pid int)      { _ = syscall.Kill(-pid, syscall.SIGKILL) }

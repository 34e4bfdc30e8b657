package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errMissing says what to install.
var errMissing = errors.New("needs PostgreSQL: install it, such as with apt-get install postgresql")

// initialise makes the directory of a server that has not started.
func initialise() (_ *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	// Not the test's own directory: another user could not reach it, and the
	// name of a socket is short.
	dir, err := os.MkdirTemp("", "leat-pg")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	s := &Server{bin: bin, dir: dir}
	if s.credential, err = whom(dir); err != nil {
		return nil, err
	}
	initdb := s.command(context.Background(), "initdb", "--pgdata", filepath.Join(dir, "data"),
		"--username", "leat", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w (its user must be able to reach %s: see TMPDIR)\n%s", err, dir, out)
	}
	return s, nil
}

// programs returns the directory of PostgreSQL's programs.
func programs() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(initdb), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errMissing
	}
	major := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 for what is no version
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })), nil
}

// whom returns whom to start PostgreSQL as, which refuses to run as root, and
// gives the directory to them; nil is whoever this is.
func whom(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no other user to run it as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("number of user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group of user %s: %w", u.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

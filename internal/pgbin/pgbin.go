// Package pgbin finds the programs of PostgreSQL that the machine has, those on
// the path or the newest that Debian's packages have put into
// /usr/lib/postgresql, and runs them as a user that they accept.
package pgbin

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

// ErrMissing says what to install.
var ErrMissing = errors.New("needs PostgreSQL: install it, such as with apt-get install postgresql")

// A Cluster is where a server keeps its databases.
type Cluster struct {
	// Data is the directory of the databases.
	Data string

	bin, dir   string
	credential *syscall.Credential
}

// Initialise makes a cluster in the subdirectory data of a directory, which it
// gives to the user of the programs. The cluster's superuser needs no password.
// The error is ErrMissing when there are no programs.
func Initialise(ctx context.Context, dir, superuser string) (*Cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Data: filepath.Join(dir, "data"), bin: bin, dir: dir}
	if c.credential, err = whom(dir); err != nil {
		return nil, err
	}
	initdb := c.Command(ctx, "initdb", "--pgdata", c.Data,
		"--username", superuser, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w (its user must be able to reach %s)\n%s", err, dir, out)
	}
	return c, nil
}

// Command returns a program of PostgreSQL with arguments. In SysProcAttr is the
// user it runs as.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...) //nolint:gosec // a program of PostgreSQL
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	return cmd
}

// programs returns the directory of PostgreSQL's programs.
func programs() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(initdb), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
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

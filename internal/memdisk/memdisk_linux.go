// Package memdisk gives tests small file systems that fill up as real ones do.
package memdisk

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// inNamespace is set in a child process that may mount file systems for itself.
const inNamespace = "LEAT_TEST_NAMESPACE"

// Run runs a test in a child process that may mount file systems, as every user
// may where the system lets users have namespaces of their own. Elsewhere it
// skips the test.
func Run(t *testing.T, f func(*testing.T)) {
	if os.Getenv(inNamespace) != "" {
		f(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("a process that may mount file systems of its own is not allowed here: %v", err)
	}
	err := cmd.Wait()
	switch {
	case err != nil:
		t.Errorf("in its own namespace: %v\n%s", err, &out)
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skipf("in its own namespace:\n%s", &out)
	}
}

// Mount mounts a file system in memory for a test that [Run] runs, with options
// such as "size=1m", and returns where.
func Mount(t *testing.T, options string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		t.Skipf("no file system in memory can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

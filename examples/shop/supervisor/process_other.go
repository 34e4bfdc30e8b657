//go:build !unix

package supervisor

import (
	"errors"
	"os"
	"syscall"
)

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }

func attributes() *syscall.SysProcAttr { return nil }

// peakMemory returns 0: not known here.
func peakMemory(int) int64 { return 0 }

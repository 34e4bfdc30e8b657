//go:build unix && !linux

package supervisor

import "syscall"

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// peakMemory returns 0: not known here.
func peakMemory(int) int64 { return 0 }

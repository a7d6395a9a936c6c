//go:build unix

package centersim

import (
	"io/fs"
	"os"
	"syscall"
)

// lockFile keeps a second centre away for as long as the file is open.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// exposed tells whether others than the owner may read or write the file.
func exposed(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

package settlement

import (
	"os"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of four megabytes, which needs root.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		if os.Geteuid() == 0 {
			t.Logf("root, but not allowed to mount: %v", err)
		}
		t.Skip("a small disk needs the right to mount; TestDiskQuota does without")
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

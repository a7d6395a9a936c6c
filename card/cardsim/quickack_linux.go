package cardsim

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// acknowledgeAtOnce sets TCP_QUICKACK, which lasts until the kernel thinks
// better of it.
func acknowledgeAtOnce(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("TCP_QUICKACK: %w", err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("TCP_QUICKACK: %w", err)
	}
	return nil
}

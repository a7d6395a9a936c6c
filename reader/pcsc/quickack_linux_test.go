package pcsc

import (
	"net"
	"syscall"
)

// quickACK keeps the kernel from delaying the acknowledgement of vpcd's first
// write, for which its second one waits. The kernel forgets it after each read.
func quickACK(c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}

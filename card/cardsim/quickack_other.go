//go:build !linux

package cardsim

import "net"

// acknowledgeAtOnce does nothing where there is no TCP_QUICKACK.
func acknowledgeAtOnce(*net.TCPConn) error { return nil }

package transport

import (
	"errors"
	"fmt"

	"onecard/reader"
	"onecard/reader/serial"
)

// OpenPort opens a serial port, 8 data bits, no parity, one stop bit, by
// go.bug.st/serial, or by github.com/tarm/serial where library is "tarm". Errors
// wrap [reader.ErrReaderGone].
func OpenPort(name string, baud int, library string) (Port, error) {
	open := serial.OpenBugst
	if library == "tarm" {
		open = serial.OpenTarm
	}
	l, err := open(name, baud)
	if err != nil {
		return nil, fmt.Errorf("open card unit: %w: %w", reader.ErrReaderGone, err)
	}
	return serialPort{l}, nil
}

type serialPort struct{ serial.Line }

// Read returns 0 bytes where nothing came in the port's own time.
func (p serialPort) Read(b []byte) (int, error) {
	n, err := p.Line.Read(b)
	if errors.Is(err, serial.ErrNothing) {
		err = nil
	}
	return n, err
}

package terminal

import (
	"fmt"

	"onecard/reader/serial"
)

// checkSerial checks and completes what a serial reader is configured with. A port
// is one reader: where no pattern is given, the entry is about that one alone.
func (r *ReaderConfig) checkSerial(key string) error {
	if r.Kind != "serial" {
		return nil
	}
	wrong := func(name, why string) error { return fmt.Errorf("%s%s: %s: %w", key, name, why, ErrConfig) }
	if r.Port == "" {
		return wrong("port", "a serial reader needs the name of its serial port")
	}
	if _, err := serial.OpenerNamed(r.Driver); err != nil {
		return wrong("driver", "bugst or tarm")
	}
	if r.Baud != 0 && (r.Baud < 1200 || r.Baud > 921600) {
		return wrong("baud", "from 1200 to 921600, or 0 for the usual rates in turn")
	}
	if r.Match == "" {
		r.Match = serial.SlotName(r.Port)
	}
	return nil
}

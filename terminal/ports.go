package terminal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"onecard/reader/serial"
)

// ports are the serial ports that the configuration names.
func (c *Config) ports() []string {
	var list []string
	for _, r := range c.Readers {
		if r.Port != "" && !slices.Contains(list, r.Port) {
			list = append(list, r.Port)
		}
	}
	if p := c.PINPad.Port; p != "" && !slices.Contains(list, p) {
		list = append(list, p)
	}
	return list
}

// doctorPorts looks at the serial ports of the configuration without opening them,
// and names those that there are instead where one cannot be used.
func (s *Service) doctorPorts(ctx context.Context, check func(name, zh, en string, err error) Check) []Check {
	var checks []Check
	for _, port := range s.cfg.ports() {
		err := serial.Usable(port)
		if err != nil {
			words := err.Error()
			switch there, lerr := serial.Ports(ctx); {
			case lerr != nil:
				words = fmt.Sprintf("%s; %v", words, lerr)
			case len(there) > 0:
				words += "; there is " + strings.Join(there, ", ")
			}
			err = detailed{err, words}
		}
		checks = append(checks, check("port "+port, "串口 "+port, "serial port "+port, err))
	}
	return checks
}

package terminal

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"onecard/card"
	"onecard/reader/pinpad"
	"onecard/reader/serial"
)

// check checks and completes what a PIN pad is configured with.
func (p *PINPadConfig) check() error {
	wrong := func(name, why string) error { return fmt.Errorf("pinpad.%s: %s: %w", name, why, ErrConfig) }
	if p.Digits != 0 && p.Kind != "reader" {
		return wrong("digits", "only the reader's own pad takes a fixed number")
	}
	switch p.Kind {
	case "none", "console":
	case "reader":
		if p.Digits != 0 && (p.Digits < card.PadLeast || p.Digits > card.PadMost) {
			return wrong("digits", "from 4 to 12")
		}
	case "serial":
		if p.Port == "" {
			return wrong("port", "a serial pad needs the name of its serial port")
		}
		if p.KeyFile == "" {
			return wrong("key_file", "a serial pad needs the key that it shares with this desk")
		}
		if p.Cipher == "" {
			p.Cipher = "sm4"
		}
		if _, err := pinpad.ParseCipher(p.Cipher); err != nil {
			return wrong("cipher", err.Error())
		}
		if p.Baud == 0 {
			p.Baud = 9600
		}
		if p.Baud < 1200 || p.Baud > 921600 {
			return wrong("baud", "from 1200 to 921600")
		}
		return nil
	case "simulated":
		if p.PINFile == "" {
			return wrong("pin_file", "the simulated pad needs it")
		}
	default:
		return wrong("kind", "none, reader, serial, console or simulated")
	}
	if p.Port != "" || p.KeyFile != "" || p.Cipher != "" || p.Baud != 0 {
		return wrong("kind", "port, baud, cipher and key_file are a serial pad's")
	}
	return nil
}

// SerialPad is the pad of the configuration, kind serial, with its key.
func (p PINPadConfig) SerialPad() (*pinpad.Serial, error) {
	cipher, err := pinpad.ParseCipher(p.Cipher)
	if err != nil {
		return nil, fmt.Errorf("pinpad.cipher: %w: %w", ErrConfig, err)
	}
	key, err := ReadPadKey(p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("pinpad.key_file: %w", err)
	}
	return pinpad.NewSerial(serial.OpenBugst, p.Port, p.Baud, cipher, key), nil
}

// ReadPadKey reads the key that a serial pad and its desk share: 32 hexadecimal
// digits in a file that nobody else may read.
func ReadPadKey(file string) (pinpad.TransportKey, error) {
	var key pinpad.TransportKey
	text, err := ReadSecret(file)
	if err != nil {
		return key, err
	}
	defer clear(text)
	text = bytes.TrimSpace(text)
	if len(text) != hex.EncodedLen(len(key)) {
		return key, fmt.Errorf("32 hexadecimal digits expected: %w", ErrConfig)
	}
	if _, err := hex.Decode(key[:], text); err != nil {
		return key, fmt.Errorf("32 hexadecimal digits expected: %w", ErrConfig) // the error would quote the key
	}
	return key, nil
}

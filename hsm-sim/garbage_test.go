package hsmsim_test

import (
	"errors"
	"net"
	"testing"

	"onecard/fault"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

func TestAnswersThatBreakTheProtocol(t *testing.T) {
	frame := func(f hsm.Frame) []byte {
		b, err := hsm.AppendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	echo := hsm.Frame{Version: 1, Kind: hsm.Response, Command: hsm.CommandEcho, ID: 2,
		Fields: []hsm.Field{{Tag: hsm.TagEcho, Value: make([]byte, 16)}}}
	otherID, otherCommand, otherVersion, request, noField, longField := echo, echo, echo, echo, echo, echo
	otherID.ID = 999
	otherCommand.Command = hsm.CommandStatus
	otherVersion.Version = 2
	request.Kind = hsm.Request
	noField.Fields = nil
	longField.Fields = []hsm.Field{{Tag: hsm.TagEcho, Value: make([]byte, 5000)}}
	for name, raw := range map[string][]byte{
		"other bytes":   frame(echo),
		"id":            frame(otherID),
		"command":       frame(otherCommand),
		"version":       frame(otherVersion),
		"kind":          frame(request),
		"missing field": frame(noField),
		"long field":    frame(longField),
		"length":        {0xFF, 0xFF, 0xFF, 0xFF},
		"text":          []byte("220 mail.example ESMTP\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, onEcho(hsmsim.Fault{Raw: raw}))
			err := connect(t, addr, patient...).Ping(t.Context())
			if !errors.Is(err, hsm.ErrProtocol) || fault.Of(err).Code != fault.HSMProtocol {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestGreetingsThatBreakTheProtocol(t *testing.T) {
	info := hsm.Info{Product: "test", OldestVersion: 1, NewestVersion: 1}
	newer := info
	newer.OldestVersion, newer.NewestVersion = 2, 3
	for name, test := range map[string]struct {
		answer hsm.Frame
		want   error
	}{
		"versions":     {hsm.Frame{Command: hsm.CommandStatus, ID: 1, Fields: newer.Fields()}, hsm.ErrProtocol},
		"other id":     {hsm.Frame{Command: hsm.CommandStatus, ID: 2, Fields: info.Fields()}, hsm.ErrProtocol},
		"other answer": {hsm.Frame{Command: hsm.CommandEcho, ID: 1}, hsm.ErrProtocol},
		"empty":        {hsm.Frame{Command: hsm.CommandStatus, ID: 1}, hsm.ErrProtocol},
		"refusal":      {hsm.Frame{Command: hsm.CommandStatus, ID: 1, Status: 0x0020}, hsm.ErrRefused},
	} {
		test.answer.Version, test.answer.Kind = hsm.Version, hsm.Response
		b, err := hsm.AppendFrame(nil, test.answer)
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := peer(t, func(nc net.Conn) {
			if _, err := hsm.ReadFrame(nc, hsm.MaxFrame); err == nil {
				_, _ = nc.Write(b)
			}
		})
		if err := connect(t, addr, patient...).Ping(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

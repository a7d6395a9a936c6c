package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card/keys"
	"onecard/fault"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

const defaultAddress = "127.0.0.1:9100"

var (
	errNoKeyStore = errors.New("there is no key store yet; --test starts the simulator with the test keys, which everybody knows")
	errListen     = fault.New(fault.SimulatorListen, "cannot listen")
)

type serveCommand struct {
	Test           bool          `help:"Use the test keys. Everybody knows them: never with real cards."`
	Listen         string        `help:"Address to listen on, ${listen} by default; port 0 chooses a free one." default:"${listen}" placeholder:"ADDR"`
	ReadyFile      string        `help:"Write the address to this file once it is listened on; removed at the end." type:"path" placeholder:"FILE"`
	TLSCert        string        `name:"tls-cert" help:"Speak TLS with this certificate (PEM)." type:"path" placeholder:"FILE"`
	TLSKey         string        `name:"tls-key" help:"The certificate's key (PEM)." type:"path" placeholder:"FILE"`
	TLSClientCA    string        `name:"tls-client-ca" help:"Require client certificates signed by these (PEM)." type:"path" placeholder:"FILE"`
	MaxConnections int           `help:"Connections at a time." default:"64"`
	IdleTimeout    time.Duration `help:"Close a connection after so long without a request." default:"5m"`
	Fault          string        `help:"Play an HSM with a fault (${enum}): requests other than status are never answered, cut off, answered wrongly, refused, or late by --fault-delay." enum:"none,drop,cut,wrong,refuse,delay" default:"none"`
	FaultDelay     time.Duration `help:"How late, for --fault delay." default:"1s"`
	Verbose        bool          `short:"v" help:"Log connections, too."`
}

func (s *serveCommand) Run(c *console) (err error) {
	if !s.Test {
		return errNoKeyStore
	}
	log := logrus.New()
	log.SetOutput(c.stderr)
	if c.json {
		log.SetFormatter(&logrus.JSONFormatter{})
	}
	if s.Verbose {
		log.SetLevel(logrus.DebugLevel)
	}
	opts := []hsmsim.Option{
		hsmsim.WithKeys(keys.TestRing(keys.Reference())),
		hsmsim.WithLog(log),
		hsmsim.WithMaxConnections(s.MaxConnections),
		hsmsim.WithIdleTimeout(s.IdleTimeout),
		hsmsim.WithFaults(s.faults),
	}
	config, err := s.tls()
	if err != nil {
		return err
	}
	if config != nil {
		opts = append(opts, hsmsim.WithTLS(config))
	}
	ln, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("%w: %w", errListen, err)
	}
	defer ln.Close()
	address := ln.Addr().String()
	if s.ReadyFile != "" {
		if err := writeWhole(s.ReadyFile, address+"\n"); err != nil {
			return fmt.Errorf("ready file: %w", err)
		}
		defer func() { err = errors.Join(err, os.Remove(s.ReadyFile)) }()
	}
	ready := struct {
		Listening string `json:"listening"`
		TestKeys  bool   `json:"test_keys"`
		TLS       bool   `json:"tls"`
	}{address, true, config != nil}
	// Scripts read the first line and take its last word.
	if err := c.print(ready, "hsm-sim with TEST KEYS listening on "+address); err != nil {
		return err
	}
	server := hsmsim.New(opts...)
	err = server.Serve(c.ctx, ln)
	n := server.Counters()
	log.WithFields(logrus.Fields{"connections": n.Connections, "requests": n.Requests, "refused": n.Refused, "broken": n.Broken}).Info("stopped")
	return err
}

func (s *serveCommand) tls() (*tls.Config, error) {
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return nil, errors.New("--tls-cert and --tls-key belong together")
	case s.TLSClientCA != "" && s.TLSCert == "":
		return nil, errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	case s.TLSCert == "":
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if s.TLSClientCA != "" {
		if config.ClientCAs, err = hsm.LoadCertificates(s.TLSClientCA); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// faults leaves status alone, so that clients get as far as the fault.
func (s *serveCommand) faults(_ uint64, request hsm.Frame) hsmsim.Fault {
	if request.Command == hsm.CommandStatus {
		return hsmsim.Fault{}
	}
	switch s.Fault {
	case "drop":
		return hsmsim.Fault{Drop: true}
	case "cut":
		return hsmsim.Fault{Cut: true}
	case "wrong":
		return hsmsim.Fault{Wrong: true}
	case "refuse":
		return hsmsim.Fault{Refuse: hsm.StatusKeyUnknown}
	case "delay":
		return hsmsim.Fault{Delay: s.FaultDelay}
	}
	return hsmsim.Fault{}
}

// writeWhole writes a file so that a reader sees all of it or none.
func writeWhole(name, text string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

package main

import (
	"fmt"
	"strings"
	"time"

	"onecard/card/keys"
	"onecard/hsm-sim/hsm"
)

type statusCommand struct {
	Addr          []string      `help:"Address of the HSM, ${listen} by default; several are tried in order." default:"${listen}" placeholder:"ADDR"`
	Timeout       time.Duration `help:"Longest wait." default:"5s"`
	TLS           bool          `name:"tls" help:"Speak TLS; implied by the other TLS options."`
	TLSCA         string        `name:"tls-ca" help:"CA certificates for the HSM's (PEM); the system's without." type:"path" placeholder:"FILE"`
	TLSCert       string        `name:"tls-cert" help:"Client certificate (PEM)." type:"path" placeholder:"FILE"`
	TLSKey        string        `name:"tls-key" help:"The client certificate's key (PEM)." type:"path" placeholder:"FILE"`
	TLSServerName string        `name:"tls-server-name" help:"Name in the HSM's certificate, if not that of the address." placeholder:"NAME"`
}

// statusReport is the JSON form of hsm.Info.
type statusReport struct {
	Address       string      `json:"address"`
	Product       string      `json:"product"`
	TestKeys      bool        `json:"test_keys"`
	OldestVersion byte        `json:"oldest_version"`
	NewestVersion byte        `json:"newest_version"`
	Time          time.Time   `json:"time"`
	Algorithms    []string    `json:"algorithms"`
	MaxRequest    int         `json:"max_request"`
	MaxInFlight   int         `json:"max_in_flight"`
	Keys          []keys.Held `json:"keys"`
}

func (s *statusCommand) Run(c *console) error {
	opts := []hsm.Option{
		hsm.WithName("hsm-sim status"), hsm.WithConnections(1),
		hsm.WithCallTimeout(s.Timeout), hsm.WithDialTimeout(s.Timeout), hsm.WithAnswerTimeout(s.Timeout),
	}
	if s.TLS || s.TLSCA != "" || s.TLSCert != "" || s.TLSKey != "" || s.TLSServerName != "" {
		config, err := hsm.LoadTLS(s.TLSCA, s.TLSCert, s.TLSKey, s.TLSServerName)
		if err != nil {
			return err
		}
		opts = append(opts, hsm.WithTLS(config))
	}
	client := hsm.New(s.Addr, opts...)
	defer client.Close()
	info, err := client.Info(c.ctx)
	if err != nil {
		return err
	}
	r := statusReport{
		Address: info.Address, Product: info.Product, TestKeys: info.TestKeys,
		OldestVersion: info.OldestVersion, NewestVersion: info.NewestVersion, Time: info.Time,
		Algorithms: []string{}, MaxRequest: info.MaxRequest, MaxInFlight: info.MaxInFlight, Keys: info.Keys,
	}
	for _, a := range info.Algorithms {
		r.Algorithms = append(r.Algorithms, a.String())
	}
	return c.print(r, r.text())
}

func (r *statusReport) text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("HSM", "%s", r.Product)
	row("Address", "%s", r.Address)
	if r.TestKeys {
		row("TEST KEYS", "everybody knows its root keys; not for real cards")
	}
	row("Protocol", "%d to %d, requests up to %d bytes, %d at a time", r.OldestVersion, r.NewestVersion, r.MaxRequest, r.MaxInFlight)
	row("Time", "%s", r.Time.Format(time.RFC3339))
	row("Algorithms", "%s", strings.Join(r.Algorithms, ", "))
	names := make([]string, len(r.Keys))
	for i, k := range r.Keys {
		names[i] = k.Name
	}
	row("Root keys", "%d: %s", len(names), strings.Join(names, " "))
	return strings.TrimSuffix(b.String(), "\n")
}

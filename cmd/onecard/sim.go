package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"onecard/card/cardsim"
	"onecard/cmd/internal/daemon"
	"onecard/fault"
	"onecard/settlement/centersim"
)

type simCmd struct {
	Card      simCardCmd      `cmd:"" help:"A simulated card in a virtual reader of vpcd."`
	Reader    simReaderCmd    `cmd:"" help:"A simulated card reader on a serial line (a pseudo-terminal), with a card inside."`
	Center    simCenterCmd    `cmd:"" help:"A simulated insurance centre over HTTP."`
	Pinpad    simPinpadCmd    `cmd:"" help:"A simulated serial PIN pad on a pseudo-terminal."`
	Transport simTransportCmd `cmd:"" help:"A simulated card unit of a kiosk on a pseudo-terminal."`
}

var (
	errSimulatorData = fault.New(fault.SimulatorData, "the simulator's data are not valid")
	errSimulator     = fault.New(fault.SimulatorListen, "the simulator cannot use this address")
)

// simulatorLog is a log that a person reads.
func (a *app) simulatorLog() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(a.errs)
	return log
}

type simCardCmd struct {
	Image       string   `help:"Card image: 1.0, 2.0, 3.0 (synthetic people of onecard), psam (a terminal's security module), or a file." required:""`
	Vpcd        string   `help:"Address of vpcd: slot 0 at 127.0.0.1:35963, slot 1 (the PSAM's place) at 35964." default:"127.0.0.1:35963"`
	Quirk       []string `help:"A quirk of real cards; may be repeated. --quirk=list shows them."`
	EEPROM      string   `name:"eeprom" help:"File that keeps what the card keeps without power; made where missing. Without it every start begins with the image." type:"path"`
	TearAt      string   `help:"Tear the card out in the n-th write to its EEPROM, once: N, or N:before, N:during, N:committed, N:after." placeholder:"N"`
	Blank       bool     `help:"The card before it is personalised."`
	Contactless bool     `help:"A 3.0 card on its antenna."`
}

// listQuirks stands for the list of all quirks.
const listQuirks = "list"

// Validate refuses a quirk that there is not, as part of the command line.
func (c *simCardCmd) Validate() error {
	if slices.Contains(c.Quirk, listQuirks) {
		return nil
	}
	if _, err := daemon.Quirks(c.Quirk); err != nil {
		return err
	}
	if c.TearAt != "" {
		if _, err := cardsim.ParseTear(c.TearAt); err != nil {
			return fmt.Errorf("--tear-at: %w", err)
		}
	}
	return nil
}

// Run is a card until it is told to stop. vpcd may come and go meanwhile.
func (c *simCardCmd) Run(a *app) error {
	if slices.Contains(c.Quirk, listQuirks) {
		for _, q := range cardsim.Quirks() {
			a.print("%-24s %s\n", q.Quirk, q.Description)
		}
		return nil
	}
	log := a.simulatorLog()
	card, err := c.chip(log)
	if err != nil {
		return err
	}
	// Scripts read the first line and take its last word.
	a.print("%s %s\n", a.say("模拟卡（测试密钥，虚构人员，切勿用于真实业务）连接", "simulated card with TEST KEYS and a synthetic person, never for real business, connects to"), c.Vpcd)
	if err := cardsim.ServeVPCD(a.ctx, c.Vpcd, card); err != nil && a.ctx.Err() == nil {
		return fmt.Errorf("vpcd: %w: %w", errSimulator, err)
	}
	return nil
}

// chip makes the card or the PSAM that the command line asks for.
func (c *simCardCmd) chip(log *logrus.Logger) (cardsim.Chip, error) {
	quirks, err := daemon.Quirks(c.Quirk)
	if err != nil {
		return nil, err // Validate has seen them
	}
	var tear cardsim.Tear
	if c.TearAt != "" {
		if tear, err = cardsim.ParseTear(c.TearAt); err != nil {
			return nil, err
		}
	}
	psam, err := c.psam()
	if err != nil {
		return nil, err
	}
	if psam != nil {
		opts := []cardsim.PSAMOption{cardsim.PSAMWithQuirks(quirks...), cardsim.PSAMWithLogger(log), cardsim.PSAMWithEEPROM(c.EEPROM)}
		if c.TearAt != "" {
			opts = append(opts, cardsim.PSAMWithTear(tear))
		}
		return cardsim.NewPSAM(psam, opts...)
	}
	image, err := daemon.LoadImage(c.Image)
	if err != nil {
		return nil, err
	}
	opts := []cardsim.Option{cardsim.WithQuirks(quirks...), cardsim.WithLogger(log), cardsim.WithEEPROM(c.EEPROM)}
	if c.TearAt != "" {
		opts = append(opts, cardsim.WithTear(tear))
	}
	if c.Blank {
		opts = append(opts, cardsim.WithBlank())
	}
	if c.Contactless {
		opts = append(opts, cardsim.WithContactless())
	}
	return cardsim.New(image, opts...)
}

// psam returns the image of a PSAM, nil where the name is a card's.
func (c *simCardCmd) psam() (*cardsim.PSAMImage, error) {
	switch c.Image {
	case "psam":
		return cardsim.ExamplePSAM()
	case "1.0", "2.0", "3.0":
		return nil, nil
	}
	text, err := daemon.ReadImage(c.Image)
	if err != nil || !cardsim.IsPSAM(text) {
		return nil, err
	}
	return cardsim.ParsePSAMImage(text)
}

type simCenterCmd struct {
	Listen    string   `help:"Address to listen on; port 0 chooses one." default:"127.0.0.1:8760"`
	Style     string   `help:"Signature style: none, x-tif, csb, hmac-sm3, sm2-cainfo, sm4-body, mobile, or several joined by + (docs/regions.md)." default:"none"`
	Tokens    string   `help:"With x-tif, csb, hmac-sm3: file of callers, one name = secret a line, mode 0600." type:"path"`
	Keys      string   `help:"With sm2-cainfo, sm4-body, mobile: file of keys (docs/centersim.md), mode 0600." type:"path"`
	Ledger    string   `help:"The ledger's file, made where missing. Without it what is booked is forgotten at the end." type:"path"`
	Database  string   `help:"The ledger in PostgreSQL in place of a file: postgres://USER@HOST:PORT/DATABASE without a password, or a file with mode 0600 that holds such a URL, a password too." placeholder:"URL"`
	Data      string   `help:"Directory with people.json, catalogue.json, policy.json in place of the built-in ones." type:"path"`
	WriteData string   `help:"Write the built-in people.json, catalogue.json and policy.json into a directory, to be edited for --data, and end." type:"path" placeholder:"DIR"`
	Repeat    string   `help:"What a repeated msgid does: refuse, book, same." enum:"refuse,book,same" default:"refuse"`
	Area      []string `help:"A place of insurance that this centre answers for, 2, 4 or 6 digits; may be repeated. Without it: all." placeholder:"DIGITS"`
	Route     []string `help:"Another centre on this machine for the people insured elsewhere, such as 41=http://127.0.0.1:8761; may be repeated. Needs --area." placeholder:"DIGITS=URL" sep:"none"`
	Lookups   string   `help:"What the look-ups tell: strict (5203 and 5204 want the setl_id, 5201 shows no settlement) or generous (the visit is enough)." enum:"strict,generous" default:"strict"`
	Reversal  string   `help:"What 2601 says of a transaction that never arrived or was undone: refuse, or accept (and never book it)." enum:"refuse,accept" default:"refuse"`
	Export    string   `help:"Write what the ledger holds and end: csv or json (the settlements), lines (every booking). A centre may be using the ledger meanwhile." enum:",csv,json,lines" default:""`
	Fault     []string `help:"A fault to order, such as 2207:drop-after; may be repeated. --fault=list explains them all." sep:"none"`
}

// Validate checks the command line.
func (c *simCenterCmd) Validate() error {
	if c.listsFaults() {
		return nil
	}
	for _, text := range c.Fault {
		if _, err := centersim.ParseFault(text); err != nil {
			return err
		}
	}
	switch {
	case c.Ledger != "" && c.Database != "":
		return errors.New("--ledger and --database: the ledger is in one of them")
	case c.Export != "" && c.Ledger == "" && c.Database == "":
		return errors.New("--export needs --ledger or --database")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil || !loopback(host) {
		return errors.New("--listen is a loopback address, host:port")
	}
	if _, err := c.routes(); err != nil {
		return err
	}
	tokens, keys, err := centersim.CheckStyle(c.Style)
	switch {
	case err != nil:
		return fmt.Errorf("--style: %w", err)
	case tokens && c.Tokens == "":
		return fmt.Errorf("--style %s needs --tokens", c.Style)
	case keys && c.Keys == "":
		return fmt.Errorf("--style %s needs --keys", c.Style)
	}
	return nil
}

// routes reads --route; the address may be the one that the other centre prints.
func (c *simCenterCmd) routes() (map[string]string, error) {
	routes := map[string]string{}
	for _, text := range c.Route {
		prefix, base, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("--route %s: DIGITS=URL expected", text)
		}
		routes[prefix] = strings.TrimSuffix(strings.TrimSuffix(base, callPath), "/")
	}
	return routes, nil
}

// listsFaults tells whether the faults are asked for, by either word.
func (c *simCenterCmd) listsFaults() bool {
	return slices.Contains(c.Fault, listQuirks) || slices.Contains(c.Fault, "help")
}

// faults explains every fault that can be ordered.
func (c *simCenterCmd) faults(a *app) error {
	a.print("%s\n", a.say("INFNO:种类[=值][@次数]，INFNO可为any，次数可为always（见docs/centersim.md）",
		"INFNO:KIND[=VALUE][@COUNT]; INFNO may be any, COUNT always (docs/centersim.md)"))
	for _, k := range centersim.FaultKinds() {
		form := string(k.Kind)
		if k.Value != "" {
			form += "=" + k.Value
		}
		booked := a.say("不记账", "not booked")
		if k.Booked {
			booked = a.say("记账", "booked")
		}
		a.print("%-20s %-10s %s\n", form, booked, a.say(k.Chinese, k.English))
	}
	return nil
}

// callPath is the one endpoint of the interface.
const callPath = "/fsi/api/rsfComIfsService/callService"

// Run is a centre until it is told to stop.
func (c *simCenterCmd) Run(a *app) error {
	if c.listsFaults() {
		return c.faults(a)
	}
	if c.WriteData != "" {
		if err := os.CopyFS(c.WriteData, centersim.Data()); err != nil {
			return fmt.Errorf("write data: %w: %w", errSimulatorData, err)
		}
		return nil
	}
	log := a.simulatorLog()
	config := centersim.Config{
		Style: c.Style, Ledger: c.Ledger, Database: c.Database, Repeat: centersim.Repeat(c.Repeat),
		Areas: c.Area, Lookups: centersim.Lookups(c.Lookups), Reversal: centersim.Reversal(c.Reversal),
		Logf: func(format string, args ...any) { log.Infof(format, args...) },
	}
	if c.Data != "" {
		config.Data = os.DirFS(c.Data)
	}
	var err error
	if config.Routes, err = c.routes(); err != nil {
		return err // Validate has seen it
	}
	for _, text := range c.Fault {
		f, err := centersim.ParseFault(text)
		if err != nil {
			return err // Validate has seen it
		}
		config.Faults = append(config.Faults, f)
	}
	if c.Keys != "" {
		if config.Keys, err = centersim.ReadKeys(c.Keys); err != nil {
			return fmt.Errorf("keys: %w: %w", errSimulatorData, err)
		}
	}
	if c.Tokens != "" {
		if config.Tokens, err = centersim.ReadTokens(c.Tokens); err != nil {
			return fmt.Errorf("tokens: %w: %w", errSimulatorData, err)
		}
	}
	if c.Export != "" {
		if err := centersim.Export(config, centersim.Format(c.Export), a.out); err != nil {
			return fmt.Errorf("export: %w: %w", errSimulatorData, err)
		}
		return nil
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
	endpoint := "http://" + listener.Addr().String() + callPath
	config.Ready = func() {
		// Scripts read the first line and take its last word.
		a.print("%s %s\n", a.say("模拟医保中心（虚构人员，切勿用于真实业务）地址", "simulated insurance centre with synthetic people, never for real business, at"), endpoint)
	}
	err = centersim.Serve(a.ctx, listener, config)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, centersim.ErrConfig) || errors.Is(err, centersim.ErrLedger):
		return fmt.Errorf("%w: %w", errSimulatorData, err)
	default:
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"onecard/fault"
	"onecard/settlement/region"
)

// The failures of a configuration.
var (
	ErrConfig    = fault.New(fault.ConfigInvalid, "configuration not valid")
	ErrConfigKey = fault.New(fault.ConfigUnknownKey, "unknown key in the configuration")
	ErrListen    = fault.New(fault.ListenNotLoopback, "listen address is not loopback")
	ErrExposed   = fault.New(fault.SecretExposed, "credentials file readable by others")
	ErrStateDir  = fault.New(fault.StateDirUnusable, "state directory not usable")
)

// A Config is the daemon's one TOML file. Every key is documented in
// docs/operations.md; a test keeps the two in step. Unknown keys are refused.
type Config struct {
	// Listen is the loopback address of the API and the pages.
	Listen string `toml:"listen"`
	// StateDir holds token, socket and journal; mode 0700.
	StateDir string `toml:"state_dir"`
	// LogLevel is debug, info, warning or error.
	LogLevel string `toml:"log_level"`

	Readers     []ReaderConfig    `toml:"reader"`
	Keys        KeysConfig        `toml:"keys"`
	Upstream    UpstreamConfig    `toml:"upstream"`
	Institution InstitutionConfig `toml:"institution"`
	Operator    OperatorConfig    `toml:"operator"`
	Counter     CounterConfig     `toml:"counter"`
	PINPad      PINPadConfig      `toml:"pinpad"`
	Card        CardConfig        `toml:"card"`
	Lend        LendConfig        `toml:"lend"`
	Journal     JournalConfig     `toml:"journal"`
	Outbox      OutboxConfig      `toml:"outbox"`
	Offline     OfflineConfig     `toml:"offline"`
	Resolve     ResolveConfig     `toml:"resolve"`
	Reconcile   ReconcileConfig   `toml:"reconcile"`
}

// A ReaderConfig names readers and says what they are for.
type ReaderConfig struct {
	// Kind is pcsc, serial (CCID on a serial line), transport (a motorised card
	// unit) or virtual.
	Kind string `toml:"kind"`
	// Match is a pattern for the reader's name with * and ?; empty is any.
	Match string `toml:"match"`
	// Address is host:port of the machine that lends a remote reader; CAFile has
	// the authority of its certificate, CertFile and KeyFile are our own.
	Address  string `toml:"address"`
	CAFile   string `toml:"ca_file"`
	CertFile string `toml:"cert_file"`
	KeyFile  string `toml:"key_file"`
	// Serial is the reader's serial number as its name shows it, in brackets;
	// empty is any.
	Serial string `toml:"serial"`
	// Role is user (the patient's card), contactless (the same, in a field),
	// psam (holds keys), ignore, or auto: what a slot is for is guessed.
	Role string `toml:"role"`
	// Image is the card image in a virtual reader: a file, or 1.0, 2.0, 3.0;
	// none leaves the reader empty.
	Image string `toml:"image"`
	// Quirks are the oddities and faults of that card, by the names that
	// `onecard sim card --quirk=list` shows.
	Quirks []string `toml:"quirks"`
	// Port is the serial port of a serial reader or a card unit: /dev/ttyS1,
	// COM3.
	Port string `toml:"port"`
	// Driver is the library that opens the port: bugst or tarm.
	Driver string `toml:"driver"`
	// Baud is the rate of the port; 0 is the kind's default.
	Baud int `toml:"baud"`
	// Unit is the make of a motorised card unit: crt571.
	Unit string `toml:"unit"`
	// CaptureAfter is how long a card may be left at the unit's mouth before it is
	// captured.
	CaptureAfter Patience `toml:"capture_after"`
	// ReturnAfter is how long a card may be in the unit, unused, before it is
	// returned.
	ReturnAfter Patience `toml:"return_after"`
	// ReturnAfterVisit returns the card when its visit was settled or given up.
	ReturnAfterVisit bool `toml:"return_after_visit"`
	// Hopper says that the unit has a hopper with new cards.
	Hopper bool `toml:"hopper"`
}

// NoImage is the image of a virtual reader without a card.
const NoImage = "none"

// KeysConfig says who computes with the root keys.
type KeysConfig struct {
	// HSM lists host:port of hardware security modules, tried in order.
	HSM []string `toml:"hsm"`
	// TLS speaks TLS to them; CA, certificate and key are PEM files.
	TLS        bool   `toml:"tls"`
	CAFile     string `toml:"ca_file"`
	CertFile   string `toml:"cert_file"`
	KeyFile    string `toml:"key_file"`
	ServerName string `toml:"server_name"`
	// Timeout bounds one computation.
	Timeout Duration `toml:"timeout"`
}

// UpstreamConfig is the line to the insurance centre.
type UpstreamConfig struct {
	// URL is the one endpoint, or the base of Paths.
	URL string `toml:"url"`
	// Paths gives a path per transaction where the region wants that.
	Paths map[string]string `toml:"paths"`
	// Region is the file of what differs in this region, or the name of a
	// shipped one; what is said here goes before it.
	Region string `toml:"region"`
	rules  *region.Region
	// Style is the signature: none, x-tif, csb, hmac-sm3, sm2-cainfo, sm4-body,
	// mobile, or several joined by +.
	Style string `toml:"style"`
	// CredentialsFile holds the style's secrets as TOML, readable by the daemon's
	// user alone.
	CredentialsFile string `toml:"credentials_file"`
	// Receiver is recer_sys_code, Version infver, Vendor fixmedins_soft_fcty.
	Receiver string `toml:"receiver"`
	Version  string `toml:"version"`
	Vendor   string `toml:"vendor"`
	// Lane of Lanes is this desk's share of the message numbers of an
	// institution with several desks: no two have the same lane. 0 lanes: the
	// numbers begin at random, which makes a clash unlikely, not impossible.
	Lane  int `toml:"lane"`
	Lanes int `toml:"lanes"`
	// ConnectTimeout and AnswerTimeout bound one call.
	ConnectTimeout Duration `toml:"connect_timeout"`
	AnswerTimeout  Duration `toml:"answer_timeout"`
}

// InstitutionConfig is the designated institution.
type InstitutionConfig struct {
	Code string `toml:"code"` // fixmedins_code, 12 characters
	Name string `toml:"name"`
	Area string `toml:"area"` // mdtrtarea_admvs, six digits
	// Terminal is this desk's terminal number, 12 digits, in debits of cards.
	Terminal string `toml:"terminal"`
}

// OperatorConfig is who works at the desk.
type OperatorConfig struct {
	No   string `toml:"no"`
	Name string `toml:"name"`
	Type string `toml:"type"` // opter_type: 1 staff, 2 self-service terminal
	// Rights are what may be done at this desk: settle, refund, resolve,
	// reconcile, unit. Left out, all; an empty list is a desk that only looks.
	Rights []string `toml:"rights"`
}

// CounterConfig gives what a visit has when the caller says nothing.
type CounterConfig struct {
	// Kind of the visits of this desk: outpatient, inpatient or pharmacy.
	Kind           string `toml:"kind"`
	MedType        string `toml:"med_type"`
	DepartmentCode string `toml:"department_code"`
	DepartmentName string `toml:"department_name"`
	Specialty      string `toml:"specialty"` // caty
	DoctorCode     string `toml:"doctor_code"`
	DoctorName     string `toml:"doctor_name"`
	DiagnosisCode  string `toml:"diagnosis_code"`
	DiagnosisName  string `toml:"diagnosis_name"`
	// PriceList is a TAB-separated file: code, name, price.
	PriceList string `toml:"price_list"`
}

// PINPadConfig says where a PIN is entered.
type PINPadConfig struct {
	// Kind is none, reader (the card reader's own pad), serial, console (the
	// terminal that the program was started at) or simulated.
	Kind string `toml:"kind"`
	// Port and Baud are the serial pad's line, Cipher (sm4, 3des) encrypts PINs on
	// it with keys derived from the one in KeyFile.
	Port    string `toml:"port"`
	Baud    int    `toml:"baud"`
	Cipher  string `toml:"cipher"`
	KeyFile string `toml:"key_file"`
	// PINFile holds what the simulated pad enters; for demonstrations.
	PINFile string `toml:"pin_file"`
	// Digits is how many digits a PIN has that is entered at the reader's own pad; 0
	// is six.
	Digits int `toml:"digits"`
}

// A Duration is written as "10s" or "500ms".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v <= 0 || v > 10*time.Minute {
		return fmt.Errorf("%s is not between 0 and 10 minutes", v)
	}
	*d = Duration(v)
	return nil
}

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// LoadConfig reads and checks a configuration. Relative paths in it are taken
// from the file's own directory. Errors wrap [ErrConfig], [ErrConfigKey] or
// [ErrListen] and name key and line.
func LoadConfig(file string) (Config, error) {
	text, err := readBounded(file, maxConfig)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w: %w", ErrConfig, err)
	}
	return ParseConfig(text, filepath.Dir(file))
}

// ParseConfig is [LoadConfig] for a text; dir resolves relative paths.
func ParseConfig(text []byte, dir string) (Config, error) {
	cfg := Config{
		Listen:   "127.0.0.1:8750",
		LogLevel: "info",
		Keys:     KeysConfig{Timeout: Duration(5 * time.Second)},
		Upstream: UpstreamConfig{Vendor: "onecard"},
		Operator: OperatorConfig{Type: "1"},
		Counter:  CounterConfig{Kind: KindOutpatient},
		PINPad:   PINPadConfig{Kind: "none"},
	}
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return Config{}, describeTOML(err)
	}
	if cfg.Counter.MedType == "" {
		cfg.Counter.MedType = usualType(cfg.Counter.Kind)
	}
	if err := cfg.Upstream.complete(dir); err != nil {
		return Config{}, err
	}
	for _, p := range []*string{&cfg.StateDir, &cfg.Keys.CAFile, &cfg.Keys.CertFile, &cfg.Keys.KeyFile,
		&cfg.Upstream.CredentialsFile, &cfg.Counter.PriceList, &cfg.Card.Profile, &cfg.PINPad.PINFile, &cfg.PINPad.KeyFile} {
		*p = under(dir, *p)
	}
	files := []*string{&cfg.Journal.KeyFile, &cfg.Lend.CAFile, &cfg.Lend.CertFile, &cfg.Lend.KeyFile}
	for i := range cfg.Readers {
		files = append(files, &cfg.Readers[i].CAFile, &cfg.Readers[i].CertFile, &cfg.Readers[i].KeyFile)
	}
	for _, p := range files {
		*p = under(dir, *p)
	}
	if err := cfg.check(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func under(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// describeTOML names key and line without quoting the file: it may hold what
// should not be printed.
func describeTOML(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		row, _ := e.Position()
		return fmt.Errorf("line %d: %s: %w", row, strings.Join(e.Key(), "."), ErrConfigKey)
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		row, col := dec.Position()
		return fmt.Errorf("line %d, column %d: %s: %w", row, col, strings.Join(dec.Key(), "."), ErrConfig)
	}
	return fmt.Errorf("%w: %w", ErrConfig, err)
}

func (c *Config) check() error {
	wrong := func(key, why string) error { return fmt.Errorf("%s: %s: %w", key, why, ErrConfig) }
	if err := checkLoopback(c.Listen); err != nil {
		return err
	}
	if c.StateDir == "" {
		return wrong("state_dir", "missing")
	}
	switch c.LogLevel {
	case "debug", "info", "warning", "error":
	default:
		return wrong("log_level", "debug, info, warning or error")
	}
	if len(c.Readers) == 0 {
		c.Readers = []ReaderConfig{{Kind: "pcsc"}}
	}
	for i := range c.Readers {
		r := &c.Readers[i]
		key := fmt.Sprintf("reader[%d].", i)
		switch r.Kind {
		case "pcsc", "serial", "transport", "remote":
		case "virtual":
			if r.Image == "" {
				return wrong(key+"image", "a virtual reader needs a card image")
			}
		default:
			return wrong(key+"kind", "pcsc, serial, transport, remote or virtual")
		}
		if err := errors.Join(r.checkUnit(key), r.checkSerial(key), r.checkRemote(key)); err != nil {
			return err
		}
		if r.Kind != "transport" && r.Kind != "serial" && (r.Port != "" || r.Driver != "" || r.Baud != 0) {
			return wrong(key+"port", "only a serial reader and a card unit have port, driver and baud")
		}
		if r.Kind != "virtual" && r.Image != "" {
			return wrong(key+"image", "only a virtual reader has one")
		}
		if len(r.Quirks) > 0 && (r.Kind != "virtual" || r.Image == NoImage) {
			return wrong(key+"quirks", "only the card of a virtual reader has them")
		}
		if r.Match == "" {
			r.Match = "*"
		}
		switch r.Role {
		case "":
			r.Role = RoleAuto
		case RoleAuto, RoleUser, RoleContactless, RolePSAM, RoleIgnore:
		default:
			return wrong(key+"role", "auto, user, contactless, psam or ignore")
		}
	}
	for i, a := range c.Keys.HSM {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return wrong(fmt.Sprintf("keys.hsm[%d]", i), "host:port expected")
		}
	}
	if !c.Keys.TLS && c.Keys.CAFile+c.Keys.CertFile+c.Keys.KeyFile+c.Keys.ServerName != "" {
		return wrong("keys.tls", "certificates are given but tls is false")
	}
	if (c.Keys.CertFile == "") != (c.Keys.KeyFile == "") {
		return wrong("keys.cert_file", "cert_file and key_file go together")
	}
	if c.Upstream.URL != "" {
		u, err := url.Parse(c.Upstream.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return wrong("upstream.url", "http or https address without credentials expected")
		}
		if len(c.Institution.Code) != 12 {
			return wrong("institution.code", "12 characters expected")
		}
		if c.Institution.Name == "" {
			return wrong("institution.name", "missing")
		}
		if !digits(c.Institution.Area, 6) {
			return wrong("institution.area", "six digits expected")
		}
		if c.Operator.No == "" {
			return wrong("operator.no", "missing")
		}
		if c.Operator.Name == "" {
			return wrong("operator.name", "missing")
		}
		if c.Counter.Specialty == "" {
			return wrong("counter.specialty", "missing: the centre wants it at every registration")
		}
	}
	if l := c.Upstream; l.Lanes < 0 || l.Lanes > 1000 || l.Lane < 0 || l.Lane > 0 && l.Lane >= l.Lanes {
		return wrong("upstream.lane", "from 0 to lanes-1, and at most 1000 lanes")
	}
	if t := c.Institution.Terminal; t != "" && !digits(t, 12) {
		return wrong("institution.terminal", "12 digits expected")
	}
	if err := c.Upstream.checkStyle(); err != nil {
		return err
	}
	switch c.Counter.Kind {
	case KindOutpatient, KindInpatient, KindPharmacy:
	default:
		return wrong("counter.kind", "outpatient, inpatient or pharmacy")
	}
	if err := c.Operator.checkRights(); err != nil {
		return err
	}
	if err := c.Journal.check(); err != nil {
		return err
	}
	if err := c.Outbox.check(); err != nil {
		return err
	}
	if err := c.checkOffline(); err != nil {
		return err
	}
	if err := c.Resolve.check(); err != nil {
		return err
	}
	if err := c.Reconcile.check(); err != nil {
		return err
	}
	if err := c.Lend.check(); err != nil {
		return err
	}
	return c.PINPad.check()
}

func digits(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen: host:port expected: %w", ErrListen)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("listen: %w", ErrListen)
	}
	return nil
}

// wildcard reports whether name fits a pattern with * (any run, also empty) and
// ? (any one character). Everything else stands for itself: reader names hold
// brackets.
func wildcard(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

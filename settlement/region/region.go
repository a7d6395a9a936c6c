// Package region reads what differs from region to region in the interface of
// the medical-insurance platform: one file a region, that a person can read
// beside the region's own interface text. docs/regions.md describes every key.
//
//	r, err := region.Load("path-per-infno")   // shipped, or the name of a file
//	credentials := settlement.Credentials{...} // the secrets, from elsewhere
//	r.Complete(&credentials)
//	style, err := settlement.NewStyle(r.Style, credentials)
//	config := settlement.Config{URL: "https://10.1.2.3", Style: style, ...}
//	err = r.Apply(&config)
//
// A file holds no secret and no address. What the caller has set in
// credentials or config stays; the region fills what is left empty.
package region

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"onecard/settlement"
)

// shipped are examples: invented regions of the three common kinds.
//
//go:embed *.toml
var shipped embed.FS

// maxFile bounds a region's file.
const maxFile = 1 << 20

// A Region is one file.
type Region struct {
	// Name is the region's, for people.
	Name string `toml:"name"`
	// Path is the path of the one endpoint, for addresses that have none.
	Path string `toml:"path"`
	// Style is the signature, see settlement.NewStyle.
	Style string `toml:"style"`
	// Receiver is recer_sys_code, Version infver.
	Receiver string `toml:"receiver"`
	Version  string `toml:"version"`
	// FeedetlSN is number or text.
	FeedetlSN string `toml:"feedetl_sn"`
	// ConnectTimeout and AnswerTimeout bound one call.
	ConnectTimeout Duration `toml:"connect_timeout"`
	AnswerTimeout  Duration `toml:"answer_timeout"`

	CSB    CSB    `toml:"csb"`
	SM2    SM2    `toml:"sm2"`
	Mobile Mobile `toml:"mobile"`

	// Paths gives a path per transaction, Variants the region's number of one.
	Paths    map[string]string `toml:"paths"`
	Variants map[string]string `toml:"variants"`
	// Envelope are members that every request carries besides the usual.
	Envelope map[string]string `toml:"envelope"`
	// Nodes are names of nodes: infno or * to national to regional name.
	Nodes map[string]map[string]string `toml:"nodes"`
	// Dictionaries are codes that the national tables lack: dictionary to code
	// to text.
	Dictionaries map[string]map[string]string `toml:"dictionaries"`
	// Lookup is how the region can be asked about a lost answer.
	Lookup Lookup `toml:"lookup"`
	// Cross is care outside the place of insurance.
	Cross Cross `toml:"cross"`
	// Offline is how the region is told of off-line debits of cards.
	Offline settlement.OfflineUpload `toml:"offline"`
	// Amendments change what the national tables say of a field or node.
	Amendments []Amendment `toml:"amendment"`
}

// CSB is what the style csb says.
type CSB struct {
	APIName    string `toml:"api_name"`
	APIVersion string `toml:"api_version"`
}

// SM2 is what the styles that sign with SM2 need.
type SM2 struct {
	UserID string `toml:"user_id"`
}

// Mobile is what the style mobile says.
type Mobile struct {
	Version string `toml:"version"`
}

// Lookup is how the region can be asked what became of a transaction whose
// answer was lost.
type Lookup struct {
	// Order are the questions it honours, in the order to ask them.
	Order []string `toml:"order"`
	// ClrTypes are the kinds of clearing under which a statement lists what was
	// sent: infno to codes.
	ClrTypes map[string][]string `toml:"clr_types"`
	// SetlOptins is the clearing office of statements, left out the place of care.
	SetlOptins string `toml:"setl_optins"`
	// SettledAfter is for how long something may be booked after its time-out.
	SettledAfter Duration `toml:"settled_after"`
	// Reverse permits 2601 where nothing else decides; Never are words of its
	// refusal that mean that there is no such transaction.
	Reverse bool     `toml:"reverse"`
	Never   []string `toml:"never"`
}

// Cross is what settlement.CrossRules is made of.
type Cross struct {
	PoolDigits   int               `toml:"pool_digits"`
	Need         []string          `toml:"need"`
	Filings      []string          `toml:"filings"`
	Unfiled      string            `toml:"unfiled"`
	Emergency    []string          `toml:"emergency"`
	ChronicTypes []string          `toml:"chronic_types"`
	Chronic      []string          `toml:"chronic"`
	ExpContent   map[string]string `toml:"exp_content"`
}

// An Amendment is one row of settlement.NewCatalogue's amendments.
type Amendment struct {
	Infno    string `toml:"infno"`
	Node     string `toml:"node"`
	Field    string `toml:"field"`
	Property string `toml:"property"`
	Value    string `toml:"value"`
	Reason   string `toml:"reason"`
}

// A Duration is written as "10s"; up to ten minutes.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 || v > 10*time.Minute {
		return errors.New("not a time between 0 and 10 minutes, such as 30s")
	}
	*d = Duration(v)
	return nil
}

// Names returns the regions that are shipped.
func Names() []string {
	var names []string
	entries, err := fs.ReadDir(shipped, ".")
	if err != nil {
		return nil // compiled in
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return names
}

// Load reads a region by the name of a shipped one, or from a file.
func Load(name string) (*Region, error) {
	if slices.Contains(Names(), name) {
		text, err := shipped.ReadFile(name + ".toml")
		if err != nil {
			return nil, fmt.Errorf("region %s: %w", name, err)
		}
		return Parse(text)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("region: neither shipped (%s) nor a file: %w", strings.Join(Names(), ", "), err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("region: not a file of at most %d bytes", maxFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("region: %w", err)
	}
	r, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", path.Base(name), err)
	}
	return r, nil
}

// Parse reads a region strictly. Errors are *[Error] and name key and line.
func Parse(text []byte) (*Region, error) {
	if len(text) > maxFile {
		return nil, &Error{Problem: "larger than 1 MiB"}
	}
	r := new(Region)
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(r); err != nil {
		return nil, describe(err)
	}
	if err := r.check(); err != nil {
		err.Line = lineOf(text, err.Key)
		return nil, err
	}
	return r, nil
}

// An Error is what is wrong with a region's file.
type Error struct {
	Line    int    // from 1; 0 where it is not one line's fault
	Key     string // dotted, such as paths.2207
	Problem string
}

// Error names line, key and problem.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	return b.String() + e.Problem
}

func describe(err error) *Error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, _ := strict.Errors[0].Position()
		return &Error{row, strings.Join(strict.Errors[0].Key(), "."), "unknown key"}
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, _ := decode.Position()
		return &Error{row, strings.Join(decode.Key(), "."), strings.TrimPrefix(decode.Error(), "toml: ")}
	}
	return &Error{Problem: err.Error()}
}

// lineOf finds the line of a dotted key: amendment[2].node is in the third
// table of that name. 0 where the key stands in another form than one a line.
func lineOf(text []byte, key string) int {
	at, table, number := 0, "", make(map[string]int)
	for line := range strings.Lines(string(text)) {
		at++
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, array := strings.CutPrefix(name, "[")
			name, _, _ = strings.Cut(name, "]")
			table = strings.ReplaceAll(strings.TrimSpace(name), `"`, "")
			if array {
				number[table]++
				table = fmt.Sprintf("%s[%d]", table, number[table]-1)
			}
			if key == table {
				return at
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		name = strings.ReplaceAll(strings.TrimSpace(name), `"`, "")
		if table != "" {
			name = table + "." + name
		}
		if name == key {
			return at
		}
	}
	return 0
}

// Catalogue returns the national tables with the region's amendments and
// dictionaries.
func (r *Region) Catalogue() (*settlement.Catalogue, error) {
	var rows strings.Builder
	rows.WriteString("infno\tnode\tfield\tproperty\tvalue\treason\n")
	for _, a := range r.Amendments {
		fmt.Fprintf(&rows, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Infno, a.Node, a.Field, a.Property, a.Value, a.Reason)
	}
	c, err := settlement.NewCatalogue(rows.String())
	if err != nil {
		return nil, err
	}
	for dictionary, codes := range r.Dictionaries {
		for code, text := range codes {
			c.Define(dictionary, code, text)
		}
	}
	r.Offline.Declare(c)
	return c, nil
}

// regional is the part that the client rewrites messages by.
func (r *Region) regional() settlement.Regional {
	return settlement.Regional{Envelope: r.Envelope, Nodes: r.Nodes, SerialText: r.FeedetlSN == feedetlText, Cross: r.cross()}
}

func (r *Region) cross() settlement.CrossRules {
	rules := settlement.CrossRules{
		PoolDigits: r.Cross.PoolDigits, Filings: r.Cross.Filings, Unfiled: r.Cross.Unfiled, Emergency: r.Cross.Emergency,
		ChronicTypes: r.Cross.ChronicTypes, Chronic: r.Cross.Chronic, Extras: r.Cross.ExpContent,
	}
	if r.Cross.Need != nil {
		rules.Need = make([]settlement.OutType, len(r.Cross.Need))
	}
	for i, out := range r.Cross.Need {
		rules.Need[i] = settlement.OutType(out)
	}
	return rules
}

// Lookups is how the region can be asked about a lost answer.
func (r *Region) Lookups() settlement.Lookup {
	l := r.Lookup
	return settlement.Lookup{
		Order: l.Order, ClrTypes: l.ClrTypes, Optins: l.SetlOptins, Settled: time.Duration(l.SettledAfter), Reverse: l.Reverse, Never: l.Never,
	}
}

// Complete fills what the region's styles say besides the secrets.
func (r *Region) Complete(c *settlement.Credentials) {
	fill(&c.APIName, r.CSB.APIName)
	fill(&c.APIVersion, r.CSB.APIVersion)
	fill(&c.SM2UserID, r.SM2.UserID)
	fill(&c.MobileVersion, r.Mobile.Version)
}

func fill[T comparable](to *T, from T) {
	var zero T
	if *to == zero {
		*to = from
	}
}

// Apply fills everything of a configuration that is still empty, but for
// address and style.
func (r *Region) Apply(c *settlement.Config) error {
	c.URL = r.Endpoint(c.URL)
	fill(&c.RecerSysCode, r.Receiver)
	fill(&c.Infver, r.Version)
	fill(&c.ConnectTimeout, time.Duration(r.ConnectTimeout))
	fill(&c.AnswerTimeout, time.Duration(r.AnswerTimeout))
	c.Paths = merged(r.Paths, c.Paths)
	c.Variants = merged(r.Variants, c.Variants)
	if c.Catalogue == nil {
		var err error
		if c.Catalogue, err = r.Catalogue(); err != nil {
			return err
		}
	}
	if r.Offline.Path != "" && c.Paths[r.Offline.Infno] == "" {
		c.Paths[r.Offline.Infno] = r.Offline.Path
	}
	c.Regional = r.regional()
	return nil
}

// Endpoint adds the region's path to an address that has none.
func (r *Region) Endpoint(address string) string {
	u, err := url.Parse(address)
	if err != nil || r.Path == "" || u.Host == "" || u.Path != "" && u.Path != "/" {
		return address
	}
	u.Path = r.Path
	return u.String()
}

// merged takes from both, where both have a key from own.
func merged(region, own map[string]string) map[string]string {
	all := make(map[string]string, len(region)+len(own))
	for _, m := range []map[string]string{region, own} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

package settlement

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Layouts of dates and times in messages.
const (
	DateLayout = "2006-01-02"
	TimeLayout = "2006-01-02 15:04:05"
)

// An Institution is the designated hospital or pharmacy.
type Institution struct {
	Code string // fixmedins_code, up to 12, begins every msgid
	Name string // fixmedins_name, up to 20 characters
	Area string // mdtrtarea_admvs: administrative division of the place of care, 6 digits
}

// An Operator is who stands behind a request.
type Operator struct {
	Type string // opter_type: 1 staff, 2 self-service terminal, 3 mobile
	No   string // opter, up to 30
	Name string // opter_name, up to 50 characters
}

// An Envelope is everything of a request but its input: the rows ENVELOPE of
// fields.tsv.
type Envelope struct {
	Infno          string `json:"infno"`
	Msgid          string `json:"msgid"`
	MdtrtareaAdmvs string `json:"mdtrtarea_admvs"`
	InsuplcAdmdvs  string `json:"insuplc_admdvs,omitempty"` // required whenever the input carries psn_no
	RecerSysCode   string `json:"recer_sys_code"`
	DevNo          string `json:"dev_no,omitempty"`
	DevSafeInfo    string `json:"dev_safe_info,omitempty"`
	Cainfo         string `json:"cainfo,omitempty"`
	Signtype       string `json:"signtype,omitempty"`
	Infver         string `json:"infver"`
	OpterType      string `json:"opter_type"`
	Opter          string `json:"opter"`
	OpterName      string `json:"opter_name"`
	InfTime        string `json:"inf_time"` // yyyy-MM-dd HH:mm:ss
	FixmedinsCode  string `json:"fixmedins_code"`
	FixmedinsName  string `json:"fixmedins_name"`
	SoftFactory    string `json:"fixmedins_soft_fcty,omitempty"` // maker of the institution's software
	SignNo         string `json:"sign_no,omitempty"`             // from 9001
}

// A Request is one call, before it has an envelope.
type Request struct {
	Infno         string
	MsgID         string // "": the client draws one
	InsuplcAdmdvs string // place of insurance, from 1101
	SignNo        string // from 9001
	Input         any    // marshalled; a json.RawMessage is taken as it is
}

// A Prepared request is validated and complete but for its signature, which
// is dated when it is sent. It is what the journal keeps.
type Prepared struct {
	Infno string
	MsgID string
	Body  []byte // the envelope with its input, JSON; holds personal data
}

// String names the request without its content.
func (p *Prepared) String() string {
	return fmt.Sprintf("%s %s (%d bytes)", p.Infno, p.MsgID, len(p.Body))
}

// seal joins header and input to one JSON text and validates both against the
// catalogue.
func (e Envelope) seal(c *Catalogue, input any) ([]byte, error) {
	raw, err := json.Marshal(input)
	if err != nil {
		return nil, fmt.Errorf("marshal input: %w", err)
	}
	person, err := c.validate(e.Infno, raw)
	if err != nil {
		return nil, err
	}
	if person && e.InsuplcAdmdvs == "" {
		return nil, &ValidationError{Infno: e.Infno, Node: envelopeNode, Field: "insuplc_admdvs", Problem: Missing}
	}
	header, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("marshal envelope: %w", err)
	}
	length := utf8.RuneCount(raw)
	if c.carriesFile(e.Infno) {
		length = 0
	}
	if err := c.validateEnvelope(e.Infno, header, length); err != nil {
		return nil, err
	}
	body := make([]byte, 0, len(header)+len(raw)+10)
	body = append(body, header[:len(header)-1]...)
	body = append(body, `,"input":`...)
	body = append(body, raw...)
	return append(body, '}'), nil
}

// FormatTime returns t as messages carry times, in China's time whatever zone
// the machine is set to.
func FormatTime(t time.Time) string { return t.In(china).Format(TimeLayout) }

// FormatDate returns the day of t in China as messages carry dates.
func FormatDate(t time.Time) string { return t.In(china).Format(DateLayout) }

// China has had one time, without summer time, since 1991; a fixed zone needs
// no zone database on the machine.
var china = time.FixedZone("CST", 8*60*60)

package centersim

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Settlement is one booked settlement or its opposite. Amounts are fen,
// negative in a refund or a reversal.
type Settlement struct {
	SetlID      string    `json:"setl_id"`
	MsgID       string    `json:"msgid"` // of the request: medins_setl_id
	Institution string    `json:"fixmedins_code"`
	MdtrtID     string    `json:"mdtrt_id"`
	ChrgBchno   string    `json:"chrg_bchno"`
	PsnNo       string    `json:"psn_no"`
	Insutype    string    `json:"insutype"`
	Time        time.Time `json:"setl_time"`
	Total       int64     `json:"medfee_sumamt"`
	Fund        int64     `json:"fund_pay_sumamt"`
	Account     int64     `json:"acct_pay"`
	Cash        int64     `json:"psn_cash_pay"`
	Infno       string    `json:"infno"`                 // that booked it
	OutType     string    `json:"out_type"`              // 0 local, 1 from another city, 2 from another province
	Refunds     string    `json:"refunds,omitempty"`     // of a refund or reversal: the settlement it undoes
	RefundedBy  string    `json:"refunded_by,omitempty"` // the row that undid this one

	State    State  `json:"state"`
	IptOtpNo string `json:"ipt_otp_no"` // the institution's own number of the visit; a sale has none
	MedType  string `json:"med_type"`
	ClrType  string `json:"clr_type"`
	CareArea string `json:"mdtrtarea_admvs"`
	InsuArea string `json:"insuplc_admdvs"`
	Full     int64  `json:"fulamt_ownpay_amt"`
	Over     int64  `json:"overlmt_selfpay"`
	PreSelf  int64  `json:"preselfpay_amt"`
	InScope  int64  `json:"inscp_scp_amt"`
	Person   int64  `json:"psn_part_amt"`
}

// State is what a row of the ledger is, and what has become of it.
type State string

// The states. A settlement is settled until it is refunded (2208, 2103, 2305)
// or reversed (2601); the row that did it is a refund or a reversal.
const (
	StateSettled  State = "settled"
	StateRefunded State = "refunded"
	StateReversed State = "reversed"
	StateRefund   State = "refund"
	StateReversal State = "reversal"
)

// Settlements returns what is booked, in the order of the ledger.
func (c *Center) Settlements() []Settlement {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.list(func(*settlement) bool { return true })
}

func (s *state) list(wanted func(*settlement) bool) []Settlement {
	list := []Settlement{}
	for _, t := range s.settlements {
		if !wanted(t) {
			continue
		}
		x := Settlement{
			Infno: t.infno(), OutType: outType(t.CareArea, t.InsuArea), Refunds: t.Refunds,
			SetlID: t.SetlID, MsgID: t.MsgID, Institution: t.Institution, MdtrtID: t.MdtrtID, ChrgBchno: t.ChrgBchno,
			PsnNo: t.PsnNo, Insutype: t.Insutype, Time: t.SetlTime, MedType: t.MedType, ClrType: t.clrType(),
			CareArea: t.CareArea, InsuArea: t.InsuArea, State: StateSettled,
			Total: int64(t.Total), Fund: int64(t.Fund + t.Supplement), Account: int64(t.Account), Cash: int64(t.Cash),
			Full: int64(t.Full), Over: int64(t.OverLimit), PreSelf: int64(t.PreSelf), InScope: int64(t.InScope), Person: int64(t.Person),
		}
		if v := s.visits[t.MdtrtID]; v != nil {
			x.IptOtpNo = v.IptOtpNo
		}
		undone := s.refunds[t.SetlID]
		switch {
		case t.Reversal:
			x.State = StateReversal
		case t.Refunds != "":
			x.State = StateRefund
		case undone != nil && undone.Reversal:
			x.State = StateReversed
		case undone != nil:
			x.State = StateRefunded
		}
		if undone != nil {
			x.RefundedBy = undone.SetlID
		}
		list = append(list, x)
	}
	return list
}

// columns of the CSV form; the first says in every row what it is.
var columns = []string{
	"simulator", "setl_id", "state", "refunds", "refunded_by", "infno", "msgid", "fixmedins_code", "mdtrt_id", "ipt_otp_no", "chrg_bchno",
	"psn_no", "insutype", "med_type", "clr_type", "mdtrtarea_admvs", "insuplc_admdvs", "out_type", "setl_time",
	"medfee_sumamt", "fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt",
	"fund_pay_sumamt", "psn_part_amt", "acct_pay", "psn_cash_pay",
}

// writeCSV writes settlements with amounts in yuan, times in China.
func writeCSV(w io.Writer, list []Settlement) error {
	c := csv.NewWriter(w)
	// A failed write is kept and returned by Error.
	c.Write(columns)
	for _, x := range list {
		row := []string{
			"true", x.SetlID, string(x.State), x.Refunds, x.RefundedBy, x.Infno, x.MsgID, x.Institution, x.MdtrtID, x.IptOtpNo, x.ChrgBchno,
			x.PsnNo, x.Insutype, x.MedType, x.ClrType, x.CareArea, x.InsuArea, x.OutType, x.Time.In(china).Format(timeForm),
		}
		for _, f := range []int64{x.Total, x.Full, x.Over, x.PreSelf, x.InScope, x.Fund, x.Person, x.Account, x.Cash} {
			row = append(row, fen(f).yuan())
		}
		for i, text := range row {
			// A spreadsheet would run what a caller sent as a formula.
			if i < 19 && text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
				row[i] = "'" + text
			}
		}
		c.Write(row)
	}
	c.Flush()
	return c.Error()
}

// Format is a form in which a ledger leaves the centre.
type Format string

// The forms.
const (
	FormatJSON  Format = "json"  // the settlements, as GET /sim/settlements answers them
	FormatCSV   Format = "csv"   // the settlements, one a row, amounts in yuan
	FormatLines Format = "lines" // every booking, the ledger's own lines as they stand
)

// Export writes what a ledger holds without serving it and without changing it:
// the ledger that config names, read with its data files. Of a file a centre
// may have it open meanwhile; what it books later is not in it. Errors are
// those of [New].
func Export(config Config, format Format, w io.Writer) error {
	if err := config.defaults(); err != nil {
		return err
	}
	r, err := loadRules(config.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	kept, err := config.reader()
	if err != nil {
		return err
	}
	defer kept.close() // it was only read
	if format == FormatLines {
		return kept.export(w)
	}
	c := &Center{state: newState(r)}
	if c.ledger, err = openLedger(kept, c.replay); err != nil {
		return err
	}
	switch list := c.Settlements(); format {
	case FormatCSV:
		return writeCSV(w, list)
	case FormatJSON:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(object{"simulator": true, "notice": notice, "settlements": list})
	}
	return fmt.Errorf("%w: export %q is not json, csv or lines", ErrConfig, format)
}

// reader opens the ledger to read it only.
func (c *Config) reader() (store, error) {
	if c.Database != "" {
		return readPostgres(c.Database)
	}
	if c.Ledger == "" {
		return nil, fmt.Errorf("%w: an export needs a ledger", ErrConfig)
	}
	return readFile(c.Ledger)
}

// loud marks every answer that is no answer of the interface.
const loud = "X-Onecard-Simulator"

// listSettlements answers GET /sim/settlements: all, or those with the msgid,
// setl_id, mdtrt_id, fixmedins_code or state of the query; format=csv for a
// table.
func (c *Center) listSettlements(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name := range q {
		if !slices.Contains([]string{"msgid", "setl_id", "mdtrt_id", "fixmedins_code", "state", "format"}, name) {
			writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": "not a question: " + printable(name)})
			return
		}
	}
	c.mu.Lock()
	list := c.state.list(func(t *settlement) bool {
		for name, value := range map[string]string{"msgid": t.MsgID, "setl_id": t.SetlID, "mdtrt_id": t.MdtrtID, "fixmedins_code": t.Institution} {
			if q.Has(name) && q.Get(name) != value {
				return false
			}
		}
		return true
	})
	// What is shown must outlive a crash.
	seq := c.ledger.seq
	c.mu.Unlock()
	if err := c.ledger.sync(seq); err != nil {
		writeJSON(w, http.StatusServiceUnavailable, object{"code": 503, "message": "the ledger cannot be written"})
		return
	}
	if q.Has("state") {
		list = slices.DeleteFunc(list, func(x Settlement) bool { return string(x.State) != q.Get("state") })
	}
	w.Header().Set(loud, "insurance centre")
	switch Format(q.Get("format")) {
	case "", FormatJSON:
		writeJSON(w, http.StatusOK, object{"simulator": true, "notice": notice, "settlements": list})
	case FormatCSV:
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		// An error means that the caller has left.
		writeCSV(w, list)
	default:
		writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": "format is json or csv"})
	}
}

// dumpLedger answers GET /sim/ledger: the lines as they stand.
func (c *Center) dumpLedger(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(loud, "insurance centre")
	if c.ledger.store == nil {
		writeJSON(w, http.StatusNotFound, object{"code": 404, "message": "this centre keeps no ledger: start it with --ledger or --database"})
		return
	}
	c.mu.Lock()
	seq := c.ledger.seq
	c.mu.Unlock()
	if err := c.ledger.sync(seq); err != nil {
		writeJSON(w, http.StatusServiceUnavailable, object{"code": 503, "message": "the ledger cannot be written"})
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if err := c.ledger.store.export(w); err != nil {
		// Half a dump must not look like a whole one.
		c.config.Logf("dump of the ledger: %v", err)
		abort()
	}
}

// errReadOnly is what a ledger says that is only read.
var errReadOnly = errors.New("this ledger is only read")

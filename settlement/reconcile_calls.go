package settlement

import (
	"context"
	"fmt"
	"strconv"
)

// A Statement is what 3201 and 3202 compare: the settlements of an institution
// by insurance (3201 only), kind of clearing and clearing office, over days of
// the settlement time that the centre answered.
type Statement struct {
	Insutype string // 3201 only
	ClrType  string // clr_type
	Optins   string // setl_optins, six digits
	From, To string // yyyy-MM-dd, inclusive
	// Refunds is refd_setl_flag: "" for settlements and refunds, "0" for
	// settlements alone, "1" for refunds alone (varies).
	Refunds string
}

// StatementTotals are one side's sums over a statement; refunds count as rows
// with negative amounts. Fund is fund_pay_sumamt, Account acct_pay.
type StatementTotals struct {
	Count                      int
	Total, Fund, Account, Cash Fen
}

// Add counts one settlement or refund.
func (t *StatementTotals) Add(a Amounts) {
	t.Count++
	t.Total += a.Total
	t.Fund += a.Fund
	t.Account += a.Account
	t.Cash += a.Cash
}

// A TotalsResult is the centre's verdict of 3201. It may say in words what its
// own totals are, and need not.
type TotalsResult struct {
	Balanced bool
	Words    string // stmt_rslt_dscr, for a person
}

// balancedStatement is the code 0 of stmt_rslt; a code that is not in the
// dictionary is no balance.
const balancedStatement = "0"

type totalsIn struct {
	Insutype      string `json:"insutype"`
	ClrType       string `json:"clr_type"`
	SetlOptins    string `json:"setl_optins"`
	StmtBegndate  string `json:"stmt_begndate"`
	StmtEnddate   string `json:"stmt_enddate"`
	MedfeeSumamt  Fen    `json:"medfee_sumamt"`
	FundPaySumamt Fen    `json:"fund_pay_sumamt"`
	AcctPay       Fen    `json:"acct_pay"`
	SetlCnt       int    `json:"fixmedins_setl_cnt"`
	RefdSetlFlag  string `json:"refd_setl_flag,omitempty"`
	OwnRefdFlag   string `json:"fixmedins_refd_setl_flag"`
}

// ReconcileTotals is 3201: it asks whether the centre's totals of a statement
// are ours. It books nothing and may be repeated.
func (c *Client) ReconcileTotals(ctx context.Context, s Scope, of Statement, ours StatementTotals) (TotalsResult, error) {
	a, err := c.do(ctx, s, "3201", map[string]totalsIn{"data": {
		Insutype: of.Insutype, ClrType: of.ClrType, SetlOptins: of.Optins, StmtBegndate: of.From, StmtEnddate: of.To,
		MedfeeSumamt: ours.Total, FundPaySumamt: ours.Fund, AcctPay: ours.Account, SetlCnt: ours.Count,
		RefdSetlFlag: of.Refunds, OwnRefdFlag: of.ownFlag(),
	}})
	if err != nil {
		return TotalsResult{}, err
	}
	var out struct {
		Node Node[struct {
			StmtRslt Text `json:"stmt_rslt"`
			Words    Text `json:"stmt_rslt_dscr"`
		}] `json:"stmtinfo"`
	}
	if err := a.Decode(&out); err != nil {
		return TotalsResult{}, err
	}
	v := out.Node.Value
	if v.StmtRslt == "" {
		return TotalsResult{}, fmt.Errorf("3201: no stmt_rslt: %w", ErrMalformed)
	}
	return TotalsResult{v.StmtRslt == balancedStatement, bounded(string(v.Words), 200)}, nil
}

// ownFlag is fixmedins_refd_setl_flag, which is required where refd_setl_flag
// is not: whether the rows are the institution's refunds.
func (s Statement) ownFlag() string {
	if s.Refunds == "1" {
		return "1"
	}
	return "0"
}

type detailIn struct {
	SetlOptins    string `json:"setl_optins"`
	FileQuryNo    string `json:"file_qury_no"`
	StmtBegndate  string `json:"stmt_begndate"`
	StmtEnddate   string `json:"stmt_enddate"`
	MedfeeSumamt  Fen    `json:"medfee_sumamt"`
	FundPaySumamt Fen    `json:"fund_pay_sumamt"`
	CashPayamt    Fen    `json:"cash_payamt"`
	SetlCnt       int    `json:"fixmedins_setl_cnt"`
	ClrType       string `json:"clr_type"`
	RefdSetlFlag  string `json:"refd_setl_flag,omitempty"`
	OwnRefdFlag   string `json:"fixmedins_refd_setl_flag"`
}

// ReconcileDetail is 3202: it has the centre compare the rows of an uploaded
// file with its own and returns where the result lies. It books nothing and may
// be repeated. [Client.CompareRows] does the three steps at once.
func (c *Client) ReconcileDetail(ctx context.Context, s Scope, of Statement, ours StatementTotals, file StoredFile) (StoredFile, error) {
	a, err := c.do(ctx, s, "3202", map[string]detailIn{"data": {
		SetlOptins: of.Optins, FileQuryNo: string(file.FileQuryNo), StmtBegndate: of.From, StmtEnddate: of.To,
		MedfeeSumamt: ours.Total, FundPaySumamt: ours.Fund, CashPayamt: ours.Cash, SetlCnt: ours.Count,
		ClrType: of.ClrType, RefdSetlFlag: of.Refunds, OwnRefdFlag: of.ownFlag(),
	}})
	if err != nil {
		return StoredFile{}, err
	}
	return readStored(a, "fileinfo")
}

// A StatementRow is one of our rows of 3202: a settlement that stands in the
// journal as done, or a refund.
type StatementRow struct {
	SetlID, MdtrtID, PsnNo string
	Amounts                Amounts
	Refund                 bool // refd_setl_flag
}

// String names the row without the person.
func (r StatementRow) String() string { return fmt.Sprintf("row %s of %s", r.SetlID, r.Amounts.Total) }

// columns are the rows file-in of 3202.
func (r StatementRow) columns() []string {
	return []string{r.SetlID, r.MdtrtID, r.PsnNo, r.Amounts.Total.Yuan(), r.Amounts.Fund.Yuan(), r.Amounts.Account.Yuan(), flag(r.Refund)}
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// A ResultRow is one row of the result of 3202, the rows file-out. MsgID is
// empty where only the institution has the row.
type ResultRow struct {
	PsnNo, MdtrtID, SetlID, MsgID string
	Balanced                      bool // stmt_rslt
	Refund                        bool // refd_setl_flag
	Memo                          string
	Total, Fund, Account          NullFen
}

// String names the row without the person.
func (r ResultRow) String() string {
	return fmt.Sprintf("result row %s of %s", printable(r.SetlID), r.Total.Fen)
}

// resultColumns is how many columns a row of the result has. Centres that leave
// out what is empty at the end of a row are read, too.
const (
	resultColumns    = 10
	resultColumnsMin = 5
)

// ReadResultRows reads the rows of a result file of 3202. Errors wrap
// ErrMalformed and name the line, never its content.
func ReadResultRows(rows [][]string) ([]ResultRow, error) {
	list := make([]ResultRow, 0, len(rows))
	for n, columns := range rows {
		wrong := func(what string) error {
			return fmt.Errorf("result file: line %d: %s: %w", n+1, what, ErrMalformed)
		}
		if len(columns) < resultColumnsMin || len(columns) > resultColumns+1 {
			return nil, wrong(strconv.Itoa(len(columns)) + " columns")
		}
		c := make([]string, resultColumns+1)
		copy(c, columns)
		for _, id := range c[:4] {
			if len(id) > 64 || bounded(id, 64) != id {
				return nil, wrong("a number is too long or not printable")
			}
		}
		r := ResultRow{PsnNo: c[0], MdtrtID: c[1], SetlID: c[2], MsgID: c[3], Balanced: c[4] == balancedStatement, Refund: c[5] == "1", Memo: bounded(c[6], 500)}
		if c[4] == "" {
			return nil, wrong("no stmt_rslt")
		}
		for i, into := range []*NullFen{&r.Total, &r.Fund, &r.Account} {
			text := c[7+i]
			if text == "" {
				continue
			}
			if err := into.UnmarshalJSON([]byte(`"` + text + `"`)); err != nil {
				return nil, wrong("an amount")
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// CompareRows uploads our rows of a statement (9101), has them compared (3202)
// and fetches the rows that do not agree (9102). It books nothing and may be
// repeated. No rows of ours are a statement, too.
func (c *Client) CompareRows(ctx context.Context, s Scope, of Statement, ours []StatementRow) ([]ResultRow, error) {
	var sums StatementTotals
	rows := make([][]string, len(ours))
	for i, r := range ours {
		rows[i] = r.columns()
		sums.Add(r.Amounts)
	}
	name := fmt.Sprintf("stmt-%s-%s-%s", of.ClrType, of.From, of.To)
	content, err := ZipRows(name+".txt", rows)
	if err != nil {
		return nil, &unsentError{fmt.Errorf("3202: %w", err)}
	}
	file, err := c.UploadFile(ctx, s, name+".zip", content)
	if err != nil {
		return nil, fmt.Errorf("compare rows: %w", err)
	}
	result, err := c.ReconcileDetail(ctx, s, of, sums, file)
	if err != nil {
		return nil, fmt.Errorf("compare rows: %w", err)
	}
	if content, err = c.DownloadFile(ctx, s, result); err != nil {
		return nil, fmt.Errorf("compare rows: %w", err)
	}
	rows, err = UnzipRows(content)
	if err != nil {
		return nil, fmt.Errorf("compare rows: %w", err)
	}
	list, err := ReadResultRows(rows)
	if err != nil {
		return nil, fmt.Errorf("compare rows: %w", err)
	}
	return list, nil
}

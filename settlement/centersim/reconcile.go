package centersim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// scope is what a statement is about.
type scope struct {
	institution, insutype, clrType, optins, refund string
	from, to                                       string // dates of the settlement time, inclusive
	foreign                                        []foreignRow
}

func (c *Center) scopeOf(r *request, d record) (scope, error) {
	s := scope{
		institution: r.institution, insutype: d.text("insutype"), clrType: d.text("clr_type"), optins: d.text("setl_optins"),
		refund: d.text("refd_setl_flag"), from: d.text("stmt_begndate"), to: d.text("stmt_enddate"), foreign: r.foreign,
	}
	if s.to < s.from {
		return s, refuse("对账结束日期stmt_enddate早于对账开始日期stmt_begndate")
	}
	if s.refund != "" && s.refund != "0" && s.refund != "1" {
		return s, refuse("退费结算标志refd_setl_flag应为0或1")
	}
	return s, nil
}

// rows are the centre's settlements in that scope, refunds as rows of their
// own. Where the policy hides what 2601 reversed, neither row is there.
func (c *Center) rows(s scope) []*settlement {
	var rows []*settlement
	all := c.state.settlements
	hidden := map[*settlement]bool{}
	if len(s.foreign) > 0 {
		all = slices.Clone(all)
	}
	for i := range s.foreign {
		all = append(all, &s.foreign[i].settlement)
		hidden[&s.foreign[i].settlement] = s.foreign[i].Hidden
	}
	for _, t := range all {
		day := t.SetlTime.In(china).Format("2006-01-02")
		switch {
		case t.Institution != s.institution || t.clrType() != s.clrType || t.CareArea != s.optins || day < s.from || day > s.to:
			continue
		case s.insutype != "" && t.Insutype != s.insutype, s.refund != "" && refundFlag(t) != s.refund:
			continue
		case c.rules.policy.ReversedHidden && (c.reversed(t) || hidden[t]):
			continue
		}
		rows = append(rows, t)
	}
	return rows
}

// reversed tells whether t is a reversal or was reversed.
func (c *Center) reversed(t *settlement) bool {
	undone := c.state.refunds[t.SetlID]
	return t.Reversal || (undone != nil && undone.Reversal)
}

// clrType is the kind of clearing: 11 outpatients, 14 chronic diseases, 41 pharmacies, 21 inpatients.
func (s *settlement) clrType() string {
	switch s.Kind {
	case chronic:
		return "14"
	case pharmacy:
		return "41"
	case inpatient:
		return "21"
	}
	return "11"
}

// totals are what 3201 compares.
type totals struct {
	count                int64
	total, fund, account fen
}

func (a *totals) add(total, fund, account fen) {
	a.count++
	a.total += total
	a.fund += fund
	a.account += account
}

func sumRows(rows []*settlement) totals {
	var a totals
	for _, t := range rows {
		a.add(t.Total, t.Fund+t.Supplement, t.Account)
	}
	return a
}

// claimed reads the institution's side of a statement.
func claimed(d record) (a totals, err error) {
	if a.count, err = d.decimal("fixmedins_setl_cnt", 0); err != nil {
		return a, refuse("结算笔数fixmedins_setl_cnt不是整数")
	}
	if a.total, err = d.amount("medfee_sumamt"); err != nil {
		return a, err
	}
	if a.fund, err = d.amount("fund_pay_sumamt"); err != nil {
		return a, err
	}
	a.account, err = d.amount("acct_pay")
	return a, err
}

// statementTotals answers 3201.
func (c *Center) statementTotals(r *request) (any, error) {
	d := r.one("data")
	s, err := c.scopeOf(r, d)
	if err != nil {
		return nil, err
	}
	theirs, err := claimed(d)
	if err != nil {
		return nil, err
	}
	ours := sumRows(c.rows(s))
	result, words := "0", "对账平"
	if ours != theirs {
		result = "1"
		words = fmt.Sprintf("对账不平：中心%d笔，总额%s，基金%s，账户%s", ours.count, ours.total.yuan(), ours.fund.yuan(), ours.account.yuan())
	}
	return object{"stmtinfo": object{"setl_optins": s.optins, "stmt_rslt": result, "stmt_rslt_dscr": words}}, nil
}

// listed is one row of an uploaded file: columns as in the rows file-in of 3202.
type listed struct {
	setlID, mdtrtID, psnNo string
	total, fund, account   fen
	refund                 string
}

// readStatement reads an uploaded file: UTF-8, TAB, no header, "null" for
// what is empty, zipped. Problems name the line and never its content.
func readStatement(content []byte) ([]listed, error) {
	text, err := unzip(content)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("不是UTF-8编码")
	}
	var rows []listed
	seen := map[string]bool{}
	for n, line := range strings.Split(strings.TrimRight(string(text), "\r\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" && n == 0 {
			return nil, nil // a day without settlements
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 7 {
			return nil, fmt.Errorf("第%d行有%d列，应为7列", n+1, len(columns))
		}
		for i, text := range columns {
			if strings.EqualFold(text, "null") {
				columns[i] = ""
			}
		}
		d := record{"medfee_sumamt": columns[3], "fund_pay_sumamt": columns[4], "acct_pay": columns[5]}
		x := listed{setlID: columns[0], mdtrtID: columns[1], psnNo: columns[2], refund: columns[6]}
		for name, into := range map[string]*fen{"medfee_sumamt": &x.total, "fund_pay_sumamt": &x.fund, "acct_pay": &x.account} {
			if *into, err = d.amount(name); err != nil {
				return nil, fmt.Errorf("第%d行%w", n+1, err)
			}
		}
		switch {
		case x.setlID == "" || len(x.setlID) > 30:
			return nil, fmt.Errorf("第%d行结算ID为空或过长", n+1)
		case seen[x.setlID]:
			return nil, fmt.Errorf("第%d行结算ID重复", n+1)
		case x.refund != "0" && x.refund != "1":
			return nil, fmt.Errorf("第%d行退费结算标志应为0或1", n+1)
		}
		seen[x.setlID] = true
		rows = append(rows, x)
	}
	return rows, nil
}

// statementDetails answers 3202: it compares the uploaded rows with the
// centre's and makes a file of those that do not agree.
func (c *Center) statementDetails(r *request, e *event) error {
	d := r.one("data")
	s, err := c.scopeOf(r, d)
	if err != nil {
		return err
	}
	s.insutype = "" // 3202 knows no insurance: all of them
	f := c.state.files[d.text("file_qury_no")]
	if f == nil || f.institution != r.institution {
		return refuse("文件查询号file_qury_no不存在")
	}
	theirs, err := readStatement(f.Content)
	if err != nil {
		return refuse("对账明细文件错误：%v", err)
	}
	want, err := claimed(d)
	if err != nil {
		return err
	}
	var got totals
	for _, x := range theirs {
		if got.add(x.total, x.fund, x.account); got.total > maxFen || got.total < -maxFen {
			return refuse("对账明细文件合计超出范围")
		}
	}
	// 3202 announces no account total; the rows are compared with it below.
	if got.account, want.account = 0, 0; got != want {
		return refuse("对账明细文件的笔数或合计与交易输入不一致")
	}
	text := c.differences(s, theirs)
	name := strings.TrimSuffix(f.Name, ".zip") + "_result"
	content, err := zipped(name+".txt", text)
	if err != nil {
		return err
	}
	if len(content) > maxFile {
		return refuse("对账结果过大，请缩短对账期间")
	}
	e.Statement = c.newFile(r, name+".zip", content, e.Time)
	return nil
}

// differences writes the rows that do not agree, columns as in the rows
// file-out of 3202. Of a row that only the institution has, msgid is empty; a
// row that only the centre has, or that differs, shows the centre's ids and
// amounts: which of the two it is, the institution sees from its own list.
func (c *Center) differences(s scope, theirs []listed) []byte {
	var b bytes.Buffer
	write := func(columns ...string) {
		for i, text := range columns {
			if text == "" {
				columns[i] = "null"
			}
		}
		b.WriteString(strings.Join(columns, "\t") + "\n")
	}
	ours := map[string]*settlement{}
	rows := c.rows(s)
	for _, t := range rows {
		ours[t.SetlID] = t
	}
	agreed := map[string]bool{}
	for _, x := range theirs {
		t := ours[x.setlID]
		if t == nil {
			memo := "中心无此结算"
			if other := c.state.bySetl[x.setlID]; other != nil && other.Institution == s.institution {
				memo = "不在本次对账范围内"
			}
			write(cleanCell(x.psnNo), cleanCell(x.mdtrtID), cleanCell(x.setlID), "", "1", x.refund, memo, x.total.yuan(), x.fund.yuan(), x.account.yuan())
			continue
		}
		if x == (listed{t.SetlID, t.MdtrtID, t.PsnNo, t.Total, t.Fund + t.Supplement, t.Account, refundFlag(t)}) {
			agreed[t.SetlID] = true
		}
	}
	listedHere := map[string]bool{}
	for _, x := range theirs {
		listedHere[x.setlID] = true
	}
	for _, t := range rows {
		if agreed[t.SetlID] {
			continue
		}
		memo := "机构无此结算"
		if listedHere[t.SetlID] {
			memo = "金额或标识不一致"
		}
		write(t.PsnNo, t.MdtrtID, t.SetlID, t.MsgID, "1", refundFlag(t), memo, t.Total.yuan(), (t.Fund + t.Supplement).yuan(), t.Account.yuan())
	}
	return b.Bytes()
}

// cleanCell repeats a caller's text without what would break a row.
func cleanCell(s string) string { return printable(s) }

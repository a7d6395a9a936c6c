package terminal

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// A Table is a file for a spreadsheet.
type Table struct {
	Name    string // of ASCII letters
	Type    string // media type
	Content []byte
}

// A sheet is a table with a title; the first row is its header.
type sheet struct {
	title string
	rows  [][]cell
}

// A cell is a text, or a number as it is written.
type cell struct {
	text   string
	number bool
}

func cells(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i].text = t
	}
	return row
}

func numeral(n int) cell { return cell{strconv.Itoa(n), true} }

// yuan is an amount with two decimals; an empty one is an empty cell.
func yuan(amount string) cell { return cell{amount, amount != ""} }

// ReconciliationTable is the latest report of a day or month as a file: format
// csv or xlsx, lang zh or en; empty is the former. It names nobody.
func (s *Service) ReconciliationTable(ctx context.Context, period, format, lang string) (Table, error) {
	if lang != "" && lang != "zh" && lang != "en" {
		return Table{}, detailed{ErrBody, "lang is zh or en"}
	}
	if format != "" && format != "csv" && format != "xlsx" {
		return Table{}, detailed{ErrBody, "format is csv or xlsx"}
	}
	d, err := s.Reconciliation(ctx, period)
	if err != nil {
		return Table{}, err
	}
	sheets := d.sheets(lang != "en")
	if format == "xlsx" {
		content, err := xlsx(sheets)
		return Table{"reconciliation-" + d.Period + ".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", content}, err
	}
	content, err := csvTable(sheets)
	return Table{"reconciliation-" + d.Period + ".csv", "text/csv; charset=utf-8", content}, err
}

// sheets are a report as tables: what it is, its totals, its differences.
func (d Reconciliation) sheets(zh bool) []sheet {
	say := func(chinese, english string) string {
		if zh {
			return chinese
		}
		return english
	}
	tell := func(t Text) string { return say(t.Chinese, t.English) }
	code := func(c Coded) string {
		if word := say(c.Chinese, c.English); word != "" {
			return c.Code + " " + word
		}
		return c.Code
	}
	at := ""
	if d.At != nil {
		at = d.At.In(ChinaTime).Format("2006-01-02 15:04:05")
	}
	head := sheet{say("对账", "Reconciliation"), [][]cell{
		cells(say("对账期间", "period"), say("状态", "state"), say("对账时间", "compared at"), say("待处理差异", "open differences")),
		append(cells(d.Period, tell(d.Text), at), numeral(d.Open)),
	}}
	totals := sheet{say("总账", "Totals"), [][]cell{cells(
		say("险种", "insutype"), say("清算类别", "clr_type"), say("经办机构", "setl_optins"), say("结果", "result"),
		say("笔数", "count"), say("医疗费总额", "medfee_sumamt"), say("基金支付", "fund_pay_sumamt"), say("个人账户", "acct_pay"), say("现金", "cash"), say("中心说明", "the centre's words"),
	)}}
	for _, l := range d.Totals {
		result := say("不平", "differs")
		switch {
		case !l.Asked:
			result = say("未对总账", "not asked")
		case l.Balanced:
			result = say("平", "balanced")
		}
		row := cells(code(l.Insurance), code(l.Clearing), l.Office, result)
		row = append(row, numeral(l.Ours.Count), yuan(l.Ours.Total), yuan(l.Ours.Fund), yuan(l.Ours.Account), yuan(l.Ours.Cash))
		totals.rows = append(totals.rows, append(row, cells(l.Words)...))
	}
	rows := sheet{say("差异", "Differences"), [][]cell{cells(
		say("序号", "n"), say("类别", "kind"), say("说明", "meaning"), say("建议处理", "proposed"), say("状态", "state"), say("清算类别", "clr_type"),
		say("结算ID", "setl_id"), say("就诊ID", "mdtrt_id"), say("报文ID", "msgid"), say("日志编号", "journal"), say("持卡人", "holder"), say("退费", "refund"),
		say("本机总额", "ours: total"), say("本机基金", "ours: fund"), say("本机账户", "ours: account"),
		say("中心总额", "theirs: total"), say("中心基金", "theirs: fund"), say("中心账户", "theirs: account"),
		say("中心备注", "memo"), say("处理", "executed"), say("处理人", "who"), say("原因", "reason"), say("处理时间", "at"),
	)}}
	for _, x := range d.Differences {
		refund, entry := "", ""
		if x.Refund {
			refund = say("是", "yes")
		}
		if x.Entry != 0 {
			entry = strconv.FormatInt(x.Entry, 10)
		}
		var ours, theirs ReconcileAmounts
		if x.Ours != nil {
			ours = *x.Ours
		}
		if x.Theirs != nil {
			theirs = *x.Theirs
		}
		row := append([]cell{numeral(x.N)}, cells(tell(x.KindText), tell(x.Text), tell(x.Proposed.Text), tell(x.StateText), code(x.Clearing),
			x.Settlement, x.MdtrtID, x.MsgID, entry, x.Holder, refund)...)
		row = append(row, yuan(ours.Total), yuan(ours.Fund), yuan(ours.Account), yuan(theirs.Total), yuan(theirs.Fund), yuan(theirs.Account))
		row = append(row, cells(x.Memo)...)
		if e := x.Executed; e != nil {
			row = append(row, cells(tell(e.Text), e.Who, e.Reason, e.Begun.In(ChinaTime).Format("2006-01-02 15:04:05"))...)
		} else {
			row = append(row, cells("", "", "", "")...)
		}
		rows.rows = append(rows.rows, row)
	}
	sheets := []sheet{head, totals, rows}
	if len(d.Days) > 0 {
		days := sheet{say("逐日", "Days"), [][]cell{cells(say("日期", "day"), say("状态", "state"), say("待处理差异", "open differences"))}}
		for _, x := range d.Days {
			days.rows = append(days.rows, append(cells(x.Period, tell(x.Text)), numeral(x.Open)))
		}
		sheets = append(sheets, days)
	}
	return sheets
}

// csvTable writes sheets below each other: UTF-8 with a byte order mark, without
// which Excel takes Chinese for something else, and CRLF.
func csvTable(sheets []sheet) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("\xef\xbb\xbf")
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	for i, sheet := range sheets {
		if i > 0 {
			if err := w.Write([]string{""}); err != nil {
				return nil, fmt.Errorf("csv: %w", err)
			}
		}
		for _, row := range sheet.rows {
			line := make([]string, len(row))
			for i, c := range row {
				if line[i] = c.text; !c.number {
					line[i] = harmlessCell(c.text)
				}
			}
			if err := w.Write(line); err != nil {
				return nil, fmt.Errorf("csv: %w", err)
			}
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	return b.Bytes(), nil
}

// harmlessCell makes a text a text for a spreadsheet program: one that begins
// like a formula would be run, and names and memos come from outside.
func harmlessCell(s string) string {
	trimmed := strings.TrimLeft(s, " \t\r\n")
	if trimmed != "" && strings.ContainsRune("=+-@＝＋－＠|", []rune(trimmed)[0]) || strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "\r") || strings.HasPrefix(s, "\n") {
		return "'" + s
	}
	return s
}

package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"onecard/terminal"
	"onecard/terminal/api"
)

type journalShowCmd struct {
	ID int64 `arg:"" help:"Number of the entry."`
}

// Run shows one entry.
func (c *journalShowCmd) Run(a *app) error {
	return a.showEntry(func(client *api.Client) (terminal.EntryDetail, error) { return client.EntryContent(a.ctx, c.ID) })
}

// showEntry prints the entry that a call answers.
func (a *app) showEntry(call func(*api.Client) (terminal.EntryDetail, error)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	e, err := call(client)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(e)
		return nil
	}
	a.entry(e)
	return nil
}

// entry prints an entry, one value a line.
func (a *app) entry(e terminal.EntryDetail) {
	line := func(zh, en, value string) {
		if value != "" {
			a.print("%s: %s\n", a.say(zh, en), value)
		}
	}
	line("编号", "entry", strconv.FormatInt(e.ID, 10))
	line("结果", "outcome", a.outcome(e.Outcome))
	line("就诊", "visit", e.Visit)
	line("交易", "transaction", e.Transaction+" "+e.MsgID)
	line("发起", "opened", e.Opened.In(chinaTime).Format(time.DateTime))
	if e.Closed != nil {
		line("结束", "closed", e.Closed.In(chinaTime).Format(time.DateTime))
	}
	line("持卡人", "holder", e.Holder)
	line("金额", "amounts", fmt.Sprintf("%s; %s %s, %s %s, %s %s", e.Total,
		a.say("基金", "fund"), e.Fund, a.say("个人账户", "account"), e.Account, a.say("现金", "cash"), e.Cash))
	line("结算编号", "settlement", e.SettlementID)
	if e.Fault != nil {
		line("原因", "because", fmt.Sprintf("%s %s", e.Fault.Code, a.text(e.Fault.Text)))
	}
	line("医保中心", "centre", e.Message)
	line("备注", "note", e.Note)
	a.inquiry(e.Inquiry)
	if d := e.Decision; d != nil {
		line("核对", "decided", fmt.Sprintf("%s %s: %s", d.Time.In(chinaTime).Format(time.DateTime), d.Who, d.Reason))
	}
	if p := e.Personal; p != nil {
		line("人员编号", "psn_no", p.PsnNo)
		line("请求", "request", p.Request)
		line("应答", "answer", p.Answer)
	}
}

type journalResolveCmd struct {
	ID      int64  `arg:"" help:"Number of the entry."`
	Done    bool   `help:"One of three: the centre has booked it." xor:"found" required:""`
	Refused bool   `help:"Or: the centre has not booked it." xor:"found" required:""`
	Seen    bool   `name:"acknowledge" help:"Or, of a closed entry that a late answer contradicts: it was seen to." xor:"found" required:""`
	Setl    string `name:"setl-id" help:"The centre's setl_id, with --done."`
	Total   string `help:"Amount booked, in yuan, with --done."`
	Fund    string `help:"Paid by the fund, with --done."`
	Account string `help:"Paid from the account, with --done."`
	Cash    string `help:"Paid by the person, with --done."`
	Reason  string `help:"How you know: whom you asked, what you saw." required:""`
	By      string `help:"Who decides. Default: the user of this machine."`
}

// Run decides an entry of unknown outcome.
func (c *journalResolveCmd) Run(a *app) error {
	if c.By == "" {
		u, err := user.Current()
		if err != nil {
			return fmt.Errorf("who decides is unknown, use --by: %w", err)
		}
		c.By = u.Username
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	outcome := "refused"
	switch {
	case c.Done:
		outcome = "done"
	case c.Seen:
		outcome = terminal.Acknowledged
	}
	e, err := client.Resolve(a.ctx, c.ID, terminal.ResolveRequest{
		Outcome: outcome, Who: c.By, Reason: c.Reason, SettlementID: c.Setl,
		Total: c.Total, Fund: c.Fund, Account: c.Account, Cash: c.Cash,
	})
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(e)
		return nil
	}
	a.entry(e)
	return nil
}

type journalExportCmd struct {
	From     string `help:"First day in China, yyyy-MM-dd. Default: today."`
	To       string `help:"Last day. Default: the first."`
	Format   string `help:"csv or jsonl." enum:"csv,jsonl" default:"csv"`
	Personal bool   `help:"With personal numbers, requests and answers; onecardd notes it in its audit log."`
}

// maxExportDays bounds one export.
const maxExportDays = 366

// Run writes the entries of some days to standard output.
func (c *journalExportCmd) Run(a *app) error {
	from, err := exportDay(c.From, time.Now().In(chinaTime).Format(time.DateOnly))
	if err != nil {
		return err
	}
	to, err := exportDay(c.To, from.Format(time.DateOnly))
	if err != nil {
		return err
	}
	if to.Before(from) || to.Sub(from) > maxExportDays*24*time.Hour {
		return fmt.Errorf("from %s to %s: at most %d days: %w", c.From, c.To, maxExportDays, terminal.ErrDay)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	rows := csv.NewWriter(a.out)
	lines := json.NewEncoder(a.out)
	lines.SetEscapeHTML(false)
	asLines := a.JSON || c.Format == "jsonl"
	if !asLines {
		if err := rows.Write(exportHeader(c.Personal)); err != nil {
			return err
		}
	}
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		for after, more := int64(0), true; more; {
			part, err := client.ExportJournal(a.ctx, day.Format(time.DateOnly), after, c.Personal)
			if err != nil {
				return err
			}
			for _, e := range part.Entries {
				if asLines {
					err = lines.Encode(e)
				} else {
					err = rows.Write(exportRow(e))
				}
				if err != nil {
					return err
				}
			}
			after, more = part.Next, part.Next != 0
		}
	}
	rows.Flush()
	return rows.Error()
}

func exportDay(text, otherwise string) (time.Time, error) {
	if text == "" {
		text = otherwise
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("a day is yyyy-MM-dd: %w", terminal.ErrDay)
	}
	return day, nil
}

func exportHeader(personal bool) []string {
	header := []string{"id", "opened", "closed", "visit", "infno", "msgid", "mdtrt_id", "outcome", "setl_id",
		"total", "fund", "account", "cash", "holder", "fault", "decided_by", "reason", "request_sha256",
		"undoes", "reversed_by"}
	if personal {
		header = append(header, "psn_no", "request", "answer")
	}
	return header
}

// linked is the number of the entry that takes back, or is taken back by, this
// one; empty where there is none.
func linked(entry int64) string {
	if entry == 0 {
		return ""
	}
	return strconv.FormatInt(entry, 10)
}

func exportRow(e terminal.EntryDetail) []string {
	closed, code, who, reason := "", "", "", ""
	if e.Closed != nil {
		closed = e.Closed.In(chinaTime).Format(time.RFC3339)
	}
	if e.Fault != nil {
		code = string(e.Fault.Code)
	}
	if e.Decision != nil {
		who, reason = e.Decision.Who, e.Decision.Reason
	}
	row := []string{strconv.FormatInt(e.ID, 10), e.Opened.In(chinaTime).Format(time.RFC3339), closed, e.Visit, e.Transaction, e.MsgID, e.MdtrtID,
		e.Outcome, e.SettlementID, e.Total, e.Fund, e.Account, e.Cash, e.Holder, code, who, reason, e.RequestSHA256,
		linked(e.Undoes), linked(e.ReversedBy)}
	if p := e.Personal; p != nil {
		row = append(row, p.PsnNo, p.Request, p.Answer)
	}
	for i, cell := range row {
		// A spreadsheet takes such a text for a formula.
		if amount := i >= 9 && i <= 12; cell != "" && !amount && (cell[0] == '=' || cell[0] == '+' || cell[0] == '@' || cell[0] == '-') {
			row[i] = "'" + cell
		}
	}
	return row
}

type journalVerifyCmd struct{}

// Run verifies the journal.
func (c *journalVerifyCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	v, err := client.VerifyJournal(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(v)
		return nil
	}
	a.print("%s %d, %s %d, %s %s\n", a.say("日志完好：记录", "the journal is whole: entries"), v.Entries,
		a.say("变更", "changes"), v.Links, a.say("末尾", "end"), v.Hash)
	return nil
}

type journalBackupCmd struct{}

// Run backs the journal up.
func (c *journalBackupCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	b, err := client.BackupJournal(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(b)
		return nil
	}
	a.print("%s  %s\n%s %d, %s %d\n", b.SHA256, b.File, a.say("记录", "entries"), b.Entries, a.say("字节", "bytes"), b.Bytes)
	return nil
}

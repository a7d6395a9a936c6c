package settlement_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"onecard/settlement"
)

// statementOf is the centre's own day, as this institution should list it.
func (d *desk) statement(t *testing.T) (of settlement.Statement, rows []settlement.StatementRow) {
	t.Helper()
	day := settlement.FormatDate(time.Now())
	for _, b := range d.center.Settlements() {
		rows = append(rows, settlement.StatementRow{SetlID: b.SetlID, MdtrtID: b.MdtrtID, PsnNo: b.PsnNo, Refund: b.Refunds != "", Amounts: settlement.Amounts{
			Total: settlement.Fen(b.Total), Fund: settlement.Fen(b.Fund), Account: settlement.Fen(b.Account), Cash: settlement.Fen(b.Cash),
		}})
	}
	// A test that runs over midnight asks for both days.
	yesterday := settlement.FormatDate(time.Now().Add(-24 * time.Hour))
	return settlement.Statement{Insutype: "310", ClrType: "11", Optins: "510100", From: yesterday, To: day}, rows
}

func (d *desk) signed(t *testing.T) settlement.Scope {
	t.Helper()
	in, err := d.client.SignIn(t.Context(), settlement.SignIn{OpterNo: "0001", Mac: "00-00-5E-00-53-01", IP: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	return settlement.Scope{SignNo: string(in.SignNo)}
}

func TestStatementCalls(t *testing.T) {
	d := newDesk(t)
	if _, err := d.settler.Settle(t.Context(), d.visit(t, "OP1")); err != nil {
		t.Fatal(err)
	}
	scope := d.signed(t)
	of, rows := d.statement(t)
	var sums settlement.StatementTotals
	for _, r := range rows {
		sums.Add(r.Amounts)
	}
	if v, err := d.client.ReconcileTotals(t.Context(), scope, of, sums); err != nil || !v.Balanced {
		t.Errorf("%+v, %v", v, err)
	}
	sums.Account++
	if v, err := d.client.ReconcileTotals(t.Context(), scope, of, sums); err != nil || v.Balanced || v.Words == "" {
		t.Errorf("%+v, %v", v, err)
	}
	if list, err := d.client.CompareRows(t.Context(), scope, of, rows); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	// Nothing of ours: upstream alone has it, and says with which msgid.
	list, err := d.client.CompareRows(t.Context(), scope, of, nil)
	if err != nil || len(list) != 1 || list[0].MsgID != d.center.Settlements()[0].MsgID || list[0].Balanced || list[0].Total != settlement.SomeFen(rows[0].Amounts.Total) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestThousandRows: the file of a busy day goes up although the envelope's
// input is bounded, and every row comes back.
func TestThousandRows(t *testing.T) {
	d := newDesk(t)
	scope := d.signed(t)
	of, _ := d.statement(t)
	var rows []settlement.StatementRow
	for i := range 1000 {
		// Numbers that compress badly, as real ones do.
		n := uint64(i+1) * 0x9E3779B97F4A7C15
		rows = append(rows, settlement.StatementRow{
			SetlID: "S" + strconv.FormatUint(n, 10), MdtrtID: "M" + strconv.FormatUint(n*7, 10), PsnNo: "P" + strconv.FormatUint(n*13, 10),
			Amounts: settlement.Amounts{Total: settlement.Fen(n % 100000), Fund: settlement.Fen(n % 1000)},
		})
	}
	list, err := d.client.CompareRows(t.Context(), scope, of, rows)
	if err != nil || len(list) != len(rows) {
		t.Fatalf("%d rows, %v", len(list), err)
	}
	got := make(map[string]settlement.ResultRow)
	for _, r := range list {
		got[r.SetlID] = r
	}
	for _, r := range rows {
		if g := got[r.SetlID]; g.MsgID != "" || g.Total != settlement.SomeFen(r.Amounts.Total) || g.Fund != settlement.SomeFen(r.Amounts.Fund) || g.PsnNo != r.PsnNo {
			t.Fatalf("%v: %+v", r, fmt.Sprint(g))
		}
	}
}

package terminal

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"onecard/settlement"
)

// awkward is a report with what spreadsheets make trouble of.
func awkward() Reconciliation {
	at := time.Date(2026, 11, 21, 2, 30, 0, 0, ChinaTime)
	return Reconciliation{
		ID: 1, Period: "2026-11-20", State: "unbalanced", Text: reportTexts["unbalanced"], At: &at, Open: 1,
		Totals: []ReconcileTotals{{Insurance: Coded{Code: "310", Chinese: "职工", English: "employees"}, Clearing: Coded{Code: "11"}, Office: "510100", Asked: true,
			Ours: ReconcileSums{2, "-12.30", "0.00", "1.00", "2.00"}, Words: "=cmd|' /C calc'!A0"}},
		Differences: []ReconcileDifference{{
			N: 1, KindText: kindTexts[settlement.OnlyUpstream], Text: findingTexts[settlement.FoundUnknown], Proposed: actionDocument(settlement.ActBook),
			Settlement: "510000202603091234567890123456", MsgID: "H51010000001202603091030000001", Entry: 7, Holder: "欧***", Refund: true,
			Theirs: &ReconcileAmounts{"126.00", "84.67", "41.33"}, Memo: "+1<&>\"\x01", Executed: &ReconcileExecution{Who: "0001", Reason: "a, \"b\"\nc"},
		}},
		Days: []ReconcilePeriod{{Period: "2026-11-19", Open: 2}},
	}
}

func TestCSVTable(t *testing.T) {
	for _, zh := range []bool{true, false} {
		content, err := csvTable(awkward().sheets(zh))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(content, []byte("\xef\xbb\xbf")) || bytes.Contains(bytes.ReplaceAll(content, []byte("\r\n"), nil), []byte("\r")) {
			t.Error("no byte order mark, or a line that ends otherwise")
		}
		r := csv.NewReader(bytes.NewReader(content[3:]))
		r.FieldsPerRecord = -1
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(rows)
		for _, want := range []string{"-12.30", "'=cmd|' /C calc'!A0", "'+1<&>", "510000202603091234567890123456", "a, \"b\"\nc"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %q", want, text)
			}
		}
		if strings.Contains(text, "对账") != zh {
			t.Errorf("%q", text)
		}
		// Nothing of it is a formula, but for numbers.
		for _, row := range rows {
			for _, c := range row {
				if strings.HasPrefix(c, "=") || strings.HasPrefix(c, "+") || strings.HasPrefix(c, "@") || strings.HasPrefix(c, "-") && c != "-12.30" {
					t.Errorf("a formula: %q", c)
				}
			}
		}
	}
}

// TestXLSX reads a workbook back, part by part.
func TestXLSX(t *testing.T) {
	content, err := xlsx(awkward().sheets(true))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	parts := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		parts[f.Name] = string(text)
		for dec := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
		}
	}
	for _, name := range []string{"[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml", "xl/worksheets/sheet1.xml", "xl/worksheets/sheet4.xml"} {
		if parts[name] == "" {
			t.Errorf("no %s", name)
		}
		if strings.HasPrefix(name, "xl/worksheets/") && !strings.Contains(parts["[Content_Types].xml"], "/"+name) {
			t.Errorf("%s has no type", name)
		}
	}
	type cellXML struct {
		At     string `xml:"r,attr"`
		Type   string `xml:"t,attr"`
		Value  string `xml:"v"`
		Text   string `xml:"is>t"`
		Format string `xml:"f"`
	}
	var sheet struct {
		Rows []struct {
			Cells []cellXML `xml:"c"`
		} `xml:"sheetData>row"`
	}
	if err := xml.Unmarshal([]byte(parts["xl/worksheets/sheet3.xml"]), &sheet); err != nil {
		t.Fatal(err)
	}
	if len(sheet.Rows) != 2 {
		t.Fatalf("%+v", sheet)
	}
	found := make(map[string]cellXML)
	for _, c := range sheet.Rows[1].Cells {
		found[c.At] = c
		if c.Format != "" {
			t.Errorf("a formula: %+v", c)
		}
	}
	// Long numbers are texts, amounts are numbers.
	if c := found["G2"]; c.Type != "inlineStr" || c.Text != "510000202603091234567890123456" {
		t.Errorf("setl_id: %+v", c)
	}
	if c := found["P2"]; c.Type != "" || c.Value != "126.00" {
		t.Errorf("total: %+v", c)
	}
	if c := found["S2"]; c.Text != "+1<&>\"\uFFFD" {
		t.Errorf("memo: %+v", c)
	}
}

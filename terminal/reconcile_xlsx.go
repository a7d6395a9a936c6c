package terminal

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// The parts of an Office Open XML workbook (ECMA-376, part 1, 12 and 18) that
// say nothing of the sheets in it. Writing sheets of texts and numbers takes
// these few lines; a library for the whole format would bring formulas, charts
// and encryption into the daemon, and parsers of what others wrote.
const (
	xlsxRels   = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`
	xlsxStyles = `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">` +
		`<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		`<cellXfs count="4"><xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>` +
		`<xf numFmtId="4" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="1" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>` +
		`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`
)

// Indexes of cellXfs above.
const (
	styleText   = 0
	styleHeader = 1
	styleYuan   = 2
	styleCount  = 3
)

// xlsx writes a workbook, one sheet each. Texts are texts, whatever they begin
// with: long numbers keep their digits and nothing is a formula.
func xlsx(sheets []sheet) ([]byte, error) {
	const declaration = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	var types, book, rels strings.Builder
	types.WriteString(`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>`)
	book.WriteString(`<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>`)
	rels.WriteString(`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="styles" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/>`)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	write := func(name, content string) error {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = f.Write([]byte(declaration + content))
		}
		return err
	}
	for i, s := range sheets {
		n := i + 1
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, n)
		fmt.Fprintf(&book, `<sheet name="%s" sheetId="%d" r:id="sheet%d"/>`, escaped(s.title), n, n)
		fmt.Fprintf(&rels, `<Relationship Id="sheet%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet%d.xml"/>`, n, n)
		if err := write(fmt.Sprintf("xl/worksheets/sheet%d.xml", n), s.xml()); err != nil {
			return nil, fmt.Errorf("xlsx: %w", err)
		}
	}
	for _, part := range [][2]string{
		{"[Content_Types].xml", types.String() + `</Types>`}, {"_rels/.rels", xlsxRels}, {"xl/workbook.xml", book.String() + `</sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", rels.String() + `</Relationships>`}, {"xl/styles.xml", xlsxStyles},
	} {
		if err := write(part[0], part[1]); err != nil {
			return nil, fmt.Errorf("xlsx: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("xlsx: %w", err)
	}
	return b.Bytes(), nil
}

// xml is the sheet's part. The header stays when the rows are scrolled.
func (s sheet) xml() string {
	var b strings.Builder
	b.WriteString(`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>` +
		`<cols><col min="1" max="40" width="18" customWidth="1"/></cols><sheetData>`)
	for r, row := range s.rows {
		fmt.Fprintf(&b, `<row r="%d">`, r+1)
		for c, x := range row {
			at := fmt.Sprintf("%s%d", column(c), r+1)
			switch {
			case x.text == "":
			case x.number && strings.Contains(x.text, "."):
				fmt.Fprintf(&b, `<c r="%s" s="%d"><v>%s</v></c>`, at, styleYuan, x.text)
			case x.number:
				fmt.Fprintf(&b, `<c r="%s" s="%d"><v>%s</v></c>`, at, styleCount, x.text)
			default:
				style := styleText
				if r == 0 {
					style = styleHeader
				}
				fmt.Fprintf(&b, `<c r="%s" s="%d" t="inlineStr"><is><t xml:space="preserve">%s</t></is></c>`, at, style, escaped(x.text))
			}
		}
		b.WriteString(`</row>`)
	}
	b.WriteString(`</sheetData></worksheet>`)
	return b.String()
}

// column is the name of a column: A, B, ... Z, AA.
func column(i int) string {
	name := ""
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('A'+(i-1)%26)) + name
	}
	return name
}

// escaped is a text in XML; what XML cannot carry becomes U+FFFD.
func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a buffer takes everything
	}
	return b.String()
}

package settlement

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of files that go up by 9101 and come down by 9102.
const (
	maxUpload   = 2 << 20  // bytes of the zip
	maxUnzipped = 32 << 20 // bytes of its text
	maxFileRows = 500_000
	maxColumns  = 64
	maxCell     = 2000 // bytes of one column
)

// A StoredFile is a file that lies at the centre until its time is over: the
// output of 9101 and of 3202, and what 9102 asks for.
type StoredFile struct {
	FileQuryNo Text `json:"file_qury_no"`
	Filename   Text `json:"filename"`
	DldEndtime Text `json:"dld_endtime"` // yyyy-MM-dd HH:mm:ss; 9101 may leave it out
}

// uploadIn is the input of 9101, node fsUploadIn. Nothing says how bytes travel
// in JSON; base64 is what encoding/json makes of them and what clients send.
type uploadIn struct {
	In            []byte `json:"in"`
	Filename      string `json:"filename"`
	FixmedinsCode string `json:"fixmedins_code"`
}

// downloadIn is the input of 9102, node fsDownloadIn.
type downloadIn struct {
	FileQuryNo    string `json:"file_qury_no"`
	Filename      string `json:"filename"`
	FixmedinsCode string `json:"fixmedins_code"`
}

// UploadFile is 9101: it stores a file (see [ZipRows]), at most 2 MiB, under a
// name of at most 200 characters. It books nothing and may be repeated.
func (c *Client) UploadFile(ctx context.Context, s Scope, name string, content []byte) (StoredFile, error) {
	if len(content) == 0 || len(content) > maxUpload {
		return StoredFile{}, &unsentError{fmt.Errorf("9101: a file of 1 to %d bytes: %w", maxUpload, ErrTooLarge)}
	}
	a, err := c.do(ctx, s, "9101", map[string]uploadIn{"fsUploadIn": {content, name, c.cfg.Institution.Code}})
	if err != nil {
		return StoredFile{}, err
	}
	return readStored(a, "fsUploadOut")
}

// readStored reads a stored file that stands in the output itself or in a node.
func readStored(a Answer, node string) (StoredFile, error) {
	var f StoredFile
	if err := a.Decode(&f); err != nil {
		return StoredFile{}, err
	}
	if f.FileQuryNo == "" {
		var out map[string]json.RawMessage
		if err := a.Decode(&out); err != nil {
			return StoredFile{}, err
		}
		var n Node[StoredFile]
		if err := n.UnmarshalJSON(out[node]); err != nil {
			return StoredFile{}, fmt.Errorf("%s: output: %v: %w", a.Infno, errJSON(err), ErrMalformed)
		}
		f = n.Value
	}
	if f.FileQuryNo == "" {
		return StoredFile{}, fmt.Errorf("%s: no file_qury_no: %w", a.Infno, ErrMalformed)
	}
	return f, nil
}

// carriesFile says whether a transaction's input has a field of bytes. The
// envelope's bound of the input (40000 characters) would keep every file of a
// busy day from going up; what bounds it then is [Client.UploadFile].
func (c *Catalogue) carriesFile(infno string) bool {
	t, err := c.Transaction(infno)
	if err != nil {
		return false
	}
	for _, n := range t.In {
		for _, f := range n.Fields {
			if f.Kind == BytesKind {
				return true
			}
		}
	}
	return false
}

// DownloadFile is 9102: the bytes of a stored file. The centre answers with the
// zip itself and only refuses in an envelope; what is neither is ErrMalformed.
// The answer is bounded like every other ([Config].AnswerLimit, ErrTooLarge).
func (c *Client) DownloadFile(ctx context.Context, s Scope, f StoredFile) ([]byte, error) {
	p, err := c.Prepare(ctx, Request{Infno: "9102", InsuplcAdmdvs: s.InsuplcAdmdvs, SignNo: s.SignNo, Input: map[string]downloadIn{
		"fsDownloadIn": {string(f.FileQuryNo), string(f.Filename), c.cfg.Institution.Code},
	}})
	if err != nil {
		return nil, err
	}
	m := &Message{Infno: p.Infno, Header: make(http.Header), Body: p.Body, Now: c.cfg.Now()}
	if err := c.cfg.Style.Sign(m); err != nil {
		return nil, &unsentError{fmt.Errorf("%s: sign: %w", p.Infno, err)}
	}
	r, err := c.exchange(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Infno, err)
	}
	body := r.body
	if success := r.status >= 200 && r.status < 300; success && zipped(body) {
		return body, nil
	}
	if o, ok := c.cfg.Style.(Opener); ok {
		if body, err = o.Open(p.Infno, body); err != nil {
			return nil, fmt.Errorf("%s: open answer: %v: %w", p.Infno, err, ErrMalformed)
		}
	}
	a, err := decodeAnswer(p.Infno, r.status, body)
	if err != nil {
		return nil, err
	}
	// A gateway that can only pass JSON on hands the bytes on as Base64.
	var out map[string]json.RawMessage
	if len(a.Output) > 0 {
		if err := a.Decode(&out); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"in", "file", "data"} {
		var content []byte
		if json.Unmarshal(out[name], &content) == nil && zipped(content) {
			return content, nil
		}
	}
	return nil, fmt.Errorf("%s: no file in the answer: %w", p.Infno, ErrMalformed)
}

// zipped says whether bytes begin as a zip does, an empty one included.
func zipped(b []byte) bool {
	return bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("PK\x05\x06"))
}

// ZipRows writes rows as the interface wants its files (3202): UTF-8, columns
// between tabs, no header, "null" for what is empty, zipped as one file of that
// name. A tab or a line end in a column would make it two, and is refused.
func ZipRows(name string, rows [][]string) ([]byte, error) {
	var text bytes.Buffer
	for n, columns := range rows {
		for i, column := range columns {
			if i > 0 {
				text.WriteByte('\t')
			}
			if strings.ContainsAny(column, "\t\r\n") || !utf8.ValidString(column) {
				return nil, fmt.Errorf("file row %d, column %d: not a text of one line", n+1, i+1)
			}
			if column == "" {
				column = "null"
			}
			text.WriteString(column)
		}
		text.WriteByte('\n')
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	// No time in it: the same rows are the same bytes.
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Time{}})
	if err == nil {
		_, err = f.Write(text.Bytes())
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("zip rows: %w", err)
	}
	return b.Bytes(), nil
}

// UnzipRows reads a file as [ZipRows] writes it and as centres do: with or
// without a byte order mark, lines ended either way, "null" in any case for
// empty. The zip must hold exactly one file; its name is not looked at, because
// nothing is written anywhere. A file of more than 32 MiB or 500,000 rows is
// ErrTooLarge however small the zip was, everything else that is wrong
// ErrMalformed. Errors name the line, never its content.
func UnzipRows(content []byte) ([][]string, error) {
	text, err := unzip(content)
	if err != nil {
		return nil, fmt.Errorf("result file: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("result file: not UTF-8: %w", ErrMalformed)
	}
	var rows [][]string
	n := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		n++
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if len(rows) == maxFileRows {
			return nil, fmt.Errorf("result file: more than %d rows: %w", maxFileRows, ErrTooLarge)
		}
		if strings.Count(line, "\t") >= maxColumns {
			return nil, fmt.Errorf("result file: line %d: more than %d columns: %w", n, maxColumns, ErrMalformed)
		}
		columns := strings.Split(line, "\t")
		for i, column := range columns {
			if len(column) > maxCell {
				return nil, fmt.Errorf("result file: line %d, column %d: too long: %w", n, i+1, ErrMalformed)
			}
			column = strings.TrimSpace(column)
			if strings.EqualFold(column, "null") {
				column = ""
			}
			columns[i] = column
		}
		rows = append(rows, columns)
	}
	return rows, nil
}

// unzip returns the text of the only file in a zip.
func unzip(content []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("not a zip: %w", ErrMalformed)
	}
	var only *zip.File
	for _, f := range z.File {
		switch {
		case f.FileInfo().IsDir():
		case only != nil:
			return nil, fmt.Errorf("several files in the zip: %w", ErrMalformed)
		default:
			only = f
		}
	}
	const encrypted = 1 // general purpose bit flag, APPNOTE 4.4.4
	switch {
	case only == nil:
		return nil, fmt.Errorf("no file in the zip: %w", ErrMalformed)
	case only.Flags&encrypted != 0:
		return nil, fmt.Errorf("the zip is encrypted: %w", ErrMalformed)
	case only.UncompressedSize64 > maxUnzipped:
		return nil, fmt.Errorf("more than %d bytes: %w", maxUnzipped, ErrTooLarge)
	}
	f, err := only.Open()
	if err != nil {
		return nil, fmt.Errorf("the zip cannot be opened: %w", ErrMalformed)
	}
	// The size in the zip is what its writer claims.
	text, err := io.ReadAll(io.LimitReader(f, maxUnzipped+1))
	err = errors.Join(err, f.Close())
	switch {
	case len(text) > maxUnzipped:
		return nil, fmt.Errorf("more than %d bytes: %w", maxUnzipped, ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("the zip is damaged: %w", ErrMalformed)
	}
	return text, nil
}

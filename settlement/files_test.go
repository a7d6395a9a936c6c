package settlement

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func zipOf(t testing.TB, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, x := range files {
		f, err := z.Create(x[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(x[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipBomb is a zip of a few KiB with more in it than may be; size is what it
// says itself. One MiB is compressed and repeated: compressing takes longer than
// anything else here.
func zipBomb(t testing.TB, size uint64) []byte {
	t.Helper()
	var block bytes.Buffer
	w, err := flate.NewWriter(&block, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(make([]byte, 1<<20))
	}
	if err == nil {
		err = w.Flush() // ends at a byte
	}
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat(block.Bytes(), maxUnzipped>>20+1)
	content = append(content, 1, 0, 0, 0xff, 0xff) // the last block, empty
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateRaw(&zip.FileHeader{Name: "bomb", Method: zip.Deflate, CompressedSize64: uint64(len(content)), UncompressedSize64: size})
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestZipRows(t *testing.T) {
	rows := [][]string{{"a", "", "张三"}, {"b"}, {"null", "c d"}}
	content, err := ZipRows("x.txt", rows)
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnzipRows(content)
	if err != nil || !reflect.DeepEqual(got, [][]string{{"a", "", "张三"}, {"b"}, {"", "c d"}}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"a\tb", "a\nb", "a\rb", "\xff"} {
		if _, err := ZipRows("x.txt", [][]string{{"x", bad}}); err == nil {
			t.Errorf("%q is a column", bad)
		}
	}
	if none, err := ZipRows("x.txt", nil); err != nil || len(none) == 0 {
		t.Errorf("%v", err)
	} else if rows, err := UnzipRows(none); err != nil || len(rows) != 0 {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestUnzipRowsRefuses(t *testing.T) {
	// The second says in its directory that it is small.
	bomb, liar := zipBomb(t, maxUnzipped+1<<20), zipBomb(t, 9)
	if len(bomb) > 100<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	encrypted := zipOf(t, [2]string{"a", "1"})
	encrypted[bytes.LastIndex(encrypted, []byte("PK\x01\x02"))+8] |= 1
	for name, x := range map[string]struct {
		content []byte
		want    error
	}{
		"no zip":      {[]byte("<html>"), ErrMalformed},
		"nothing":     {nil, ErrMalformed},
		"two files":   {zipOf(t, [2]string{"a", "1"}, [2]string{"b", "2"}), ErrMalformed},
		"no file":     {zipOf(t), ErrMalformed},
		"bomb":        {bomb, ErrTooLarge},
		"encrypted":   {encrypted, ErrMalformed},
		"not UTF-8":   {zipOf(t, [2]string{"a", "\xff\xfe"}), ErrMalformed},
		"columns":     {zipOf(t, [2]string{"a", strings.Repeat("x\t", maxColumns)}), ErrMalformed},
		"long column": {zipOf(t, [2]string{"a", strings.Repeat("x", maxCell+1)}), ErrMalformed},
		"rows":        {zipOf(t, [2]string{"a", strings.Repeat("x\n", maxFileRows+1)}), ErrTooLarge},
		"damaged":     {zipOf(t, [2]string{"a", "hello"})[:20], ErrMalformed},
	} {
		if _, err := UnzipRows(x.content); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := UnzipRows(liar); err == nil {
		t.Error("a zip with a size that is a lie was read")
	}
	// Names and directories mean nothing.
	rows, err := UnzipRows(zipOf(t, [2]string{"../../etc/", ""}, [2]string{"../../etc/passwd", "\xef\xbb\xbfa\tNULL\r\n\r\nb"}))
	if err != nil || !reflect.DeepEqual(rows, [][]string{{"a", ""}, {"b"}}) {
		t.Errorf("%q, %v", rows, err)
	}
}

func TestReadResultRows(t *testing.T) {
	full := []string{"P", "M", "S", "", "1", "0", "memo", "1.00", "0.5", "0"}
	change := func(i int, text string) []string {
		c := append([]string(nil), full...)
		c[i] = text
		return c
	}
	rows, err := ReadResultRows([][]string{full, {"P", "M", "S", "MSG", "0"}, {"", "", "", "", "2"}})
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v, %v", rows, err)
	}
	if r := rows[0]; r.MsgID != "" || r.Balanced || r.Refund || r.Total != SomeFen(100) || r.Fund != SomeFen(50) || r.Account != SomeFen(0) || r.Memo != "memo" {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.MsgID != "MSG" || !r.Balanced || r.Total.Valid {
		t.Errorf("%+v", r)
	}
	if rows[2].Balanced {
		t.Error("a code that is not in the dictionary is no balance")
	}
	for _, bad := range [][]string{{"1", "2", "3", "4"}, change(4, ""), change(7, "1.005"), change(8, `1"`), change(2, "a\x1bb"), change(3, strings.Repeat("1", 65)), append(full, "", "")} {
		if _, err := ReadResultRows([][]string{bad}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestDownloadFile: the bytes of a file, a refusal in an envelope, and what is
// neither.
func TestDownloadFile(t *testing.T) {
	file := zipOf(t, [2]string{"a", "x"})
	for name, x := range map[string]struct {
		status int
		body   string
		want   Outcome
		err    error
	}{
		"file":         {200, string(file), Done, nil},
		"base64":       {200, `{"infcode":0,"output":{"in":"` + base64Of(file) + `"}}`, Done, nil},
		"refused":      {200, `{"infcode":"-1","err_msg":"文件已过期"}`, Refused, nil},
		"gateway":      {401, `{"code":401,"message":"x"}`, Refused, ErrCredentials},
		"html":         {200, "<html>", Unknown, ErrMalformed},
		"file in 502":  {502, string(file), Unknown, nil},
		"no file":      {200, `{"infcode":0,"output":{"in":"aGVsbG8="}}`, Unknown, ErrMalformed},
		"no output":    {200, `{"infcode":0}`, Unknown, ErrMalformed},
		"output array": {200, `{"infcode":0,"output":[1]}`, Unknown, ErrMalformed},
		"too large":    {200, string(file) + strings.Repeat("x", 10_000), Unknown, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(x.status)
				fmt.Fprint(w, x.body)
			}))
			defer server.Close()
			c, err := NewClient(Config{
				URL: server.URL, Institution: Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
				Operator: Operator{Type: "1", No: "1", Name: "x"}, AnswerLimit: 10_000,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.DownloadFile(t.Context(), Scope{SignNo: "1"}, StoredFile{FileQuryNo: "8", Filename: "a.zip"})
			if OutcomeOf(err) != x.want || x.err != nil && !errors.Is(err, x.err) || err == nil && !bytes.Equal(got, file) {
				t.Errorf("%q, %v (%s)", got, err, OutcomeOf(err))
			}
		})
	}
}

// FuzzResultFile: no file that comes down makes the reader fall over, and what
// it reads is bounded and clean.
func FuzzResultFile(f *testing.F) {
	for _, text := range []string{"P\tM\tS\tnull\t1\t0\tmemo\t1.00\t0.50\t0\n", "\xef\xbb\xbfP\tM\tS\tMSG\t0\t0\r\n", "", "\n\n", "a\tb"} {
		content := zipOf(f, [2]string{"x", text})
		f.Add(content)
	}
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, err := UnzipRows(content)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%v", err)
			}
			return
		}
		list, err := ReadResultRows(rows)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(list) != len(rows) {
			t.Fatalf("%d of %d rows", len(list), len(rows))
		}
		for _, r := range list {
			if strings.ContainsAny(r.SetlID+r.MsgID+r.PsnNo+r.MdtrtID, "\x00\t\r\n\x1b") || len([]rune(r.Memo)) > 500 {
				t.Fatalf("%q", r)
			}
		}
	})
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

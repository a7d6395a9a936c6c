package centersim

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// file is something that was uploaded (9101) or that a statement made (3202),
// to be fetched by 9102.
type file struct {
	Number  string    `json:"file_qury_no"`
	Name    string    `json:"filename"`
	Until   time.Time `json:"dld_endtime"`
	Content []byte    `json:"content"`

	institution string
}

const (
	maxFile     = 512 << 10 // bytes of a file as it travels
	maxUnzipped = 8 << 20   // of its text
	fileDays    = 7         // until a file cannot be fetched any more
)

// fileContent is the answer to 9102: the bytes of the file and no envelope.
type fileContent struct {
	name    string
	content []byte
}

// upload books a file.
func (c *Center) upload(r *request, e *event) error {
	d := r.one("fsUploadIn")
	if d.text("fixmedins_code") != r.institution {
		return refuse("医药机构编号fixmedins_code与发送方不一致")
	}
	content, err := fileBytes(d["in"])
	if err != nil {
		return refuse("文件数据in应为base64文本或字节数组，且为1至%d字节", maxFile)
	}
	e.Upload = c.newFile(r, d.text("filename"), content, e.Time)
	return nil
}

func (c *Center) newFile(r *request, name string, content []byte, now time.Time) *file {
	return &file{Number: c.newID("8", r.careArea, now), Name: name, Until: now.AddDate(0, 0, fileDays), Content: content}
}

// fileBytes reads a field of type bytes: nothing says how bytes travel in
// JSON, so base64 and a list of numbers (-128 to 255) are both read.
func fileBytes(v any) ([]byte, error) {
	var content []byte
	switch v := v.(type) {
	case string:
		var err error
		if content, err = base64.StdEncoding.DecodeString(v); err != nil {
			return nil, err
		}
	case []any:
		for _, x := range v {
			number, ok := x.(json.Number)
			if !ok {
				return nil, errors.New("not a number")
			}
			n, err := strconv.Atoi(number.String())
			if err != nil || n < -128 || n > 255 {
				return nil, errors.New("not a byte")
			}
			content = append(content, byte(n))
		}
	}
	if len(content) == 0 || len(content) > maxFile {
		return nil, errors.New("size")
	}
	return content, nil
}

// download answers 9102.
func (c *Center) download(r *request, now time.Time) (any, error) {
	d := r.one("fsDownloadIn")
	f := c.state.files[d.text("file_qury_no")]
	switch {
	case f == nil || f.institution != r.institution || d.text("fixmedins_code") != r.institution:
		return nil, refuse("文件查询号file_qury_no不存在")
	case f.Name != d.text("filename"):
		return nil, refuse("文件名filename与文件查询号不符")
	case now.After(f.Until):
		return nil, refuse("文件已超过下载截止时间")
	}
	return fileContent{f.Name, f.Content}, nil
}

func fileOutput(f *file) object {
	return object{"file_qury_no": f.Number, "filename": f.Name, "dld_endtime": f.Until.In(china).Format(timeForm)}
}

// unzip returns the text of the only file in a zip.
func unzip(content []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, errors.New("不是有效的zip文件")
	}
	if len(z.File) != 1 {
		return nil, fmt.Errorf("zip内应有且仅有一个文件，实有%d个", len(z.File))
	}
	f, err := z.File[0].Open()
	if err != nil {
		return nil, errors.New("zip无法解压")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxUnzipped+1))
	if err != nil {
		return nil, errors.New("zip无法解压")
	}
	if len(text) > maxUnzipped {
		return nil, fmt.Errorf("解压后超过%d字节", maxUnzipped)
	}
	return text, nil
}

func zipped(name string, text []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

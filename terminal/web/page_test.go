package web_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"onecard/terminal/web/webtest"
)

func TestPlayVisit(t *testing.T) {
	d := newDesk()
	server := d.start(t)
	d.insert()
	ctx, watch := webtest.Browser(t)
	outcome, err := webtest.PlayVisit(ctx, server.URL, webtest.Script{PIN: true, Records: []string{"DF03EF07"}, Lines: []webtest.Line{{"110100001", "门诊诊察费", "1", "20.00"}, {"YA01", "硝苯地平控释片", "2", "28.505"}}, Pasted: "编码\t名称\t数量\t单价\nZB01\t一次性护理垫\t1\t6.66\n"})
	shot(t, ctx, "visit")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", outcome)
	watch.Check(t, server.URL)
}

// shot keeps a picture of the page where SHOTS names a directory.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	png, err := webtest.Screenshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

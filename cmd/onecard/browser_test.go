package main

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal"
	"onecard/terminal/web/webtest"
)

// TestBrowser plays visits on the page that a real onecardd serves, with the
// simulators behind it: what the page's own tests do against a desk in memory.
func TestBrowser(t *testing.T) {
	browser, _ := webtest.Browser(t)
	for _, scenario := range []struct {
		name string
		play func(*clerk)
	}{
		{"by keyboard to the receipt", (*clerk).playReceipt},
		{"reloaded at every step", (*clerk).playReload},
		{"unknown outcome", (*clerk).playUnknown},
		{"the daemon is killed while it settles", (*clerk).playKilled},
		{"reconciliation", (*clerk).playReconcile},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			k := &clerk{counter: newCounter(t, setup{config: hospital{"pin": "pad"}})}
			k.ctx, k.watch = webtest.Tab(t, browser)
			scenario.play(k)
			k.watch.Check(t, k.daemon.where)
		})
	}
}

// A clerk sits before the page of a counter.
type clerk struct {
	*counter
	ctx   context.Context
	watch *webtest.Watch
}

var tablets = webtest.Line{Code: "XC10AAB026A001010190004", Name: "阿托伐他汀钙片", Quantity: "28", Price: "4.50"}

func (k *clerk) text(selector string) string {
	k.Helper()
	text, err := webtest.Text(k.ctx, selector)
	k.must(err)
	return text
}

func (k *clerk) sees(selector string, wanted ...string) {
	k.Helper()
	text := k.text(selector)
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			k.Errorf("%s does not show %q:\n%s", selector, w, text)
		}
	}
}

// reload loads the page anew: it shows what the service says.
func (k *clerk) reload(step string) {
	k.Helper()
	k.must(webtest.Open(k.ctx, k.daemon.where))
	k.must(webtest.Wait(k.ctx, `document.body.dataset.step === "`+step+`"`))
}

func (k *clerk) toTrial() {
	k.Helper()
	k.must(webtest.Open(k.ctx, k.daemon.where))
	k.must(webtest.WaitStep(k.ctx, "ready"))
	k.must(webtest.StartVisit(k.ctx))
	k.must(webtest.AddLine(k.ctx, tablets))
	k.must(webtest.Trial(k.ctx, &webtest.Outcome{}))
}

// playReceipt plays a whole visit, PIN and records included, and prints it.
func (k *clerk) playReceipt() {
	outcome, err := webtest.PlayVisit(k.ctx, k.daemon.where, webtest.Script{
		PIN: true, Records: []string{"DF03EF07", "DF03EF05", "DF04EF05"},
		Lines:  []webtest.Line{tablets},
		Pasted: "001102000020000-110200002\t副主任医师门诊诊察费\t1\t30.00",
	})
	k.must(err)
	if !strings.Contains(outcome.Records["DF03EF07"], "企业职工基本养老保险") || !strings.Contains(outcome.Records["DF03EF05"], "242") {
		k.Errorf("records: %q", outcome.Records)
	}
	if !strings.Contains(outcome.Total, "156.00") {
		k.Errorf("the trial: %+v", outcome)
	}
	day := k.journal()
	if len(day.Entries) != 1 || day.Entries[0].Outcome != "done" || day.Entries[0].SettlementID != outcome.Receipt.SettlementID || day.Entries[0].Total != "156.00" {
		k.Errorf("receipt %s, journal %+v", outcome.Receipt.SettlementID, day.Entries)
	}
	k.noneTwice(1)
	for _, want := range []string{"欧***", "样例医院", outcome.Receipt.SettlementID, day.Entries[0].MsgID, "阿托伐他汀钙片", "156.00", day.Entries[0].Cash} {
		if !strings.Contains(outcome.Receipt.Text, want) {
			k.Errorf("the receipt lacks %q:\n%s", want, outcome.Receipt.Text)
		}
	}
	for _, never := range []string{"欧阳", "510104195807120024", "B51000035", "123456"} {
		if strings.Contains(k.text("body"), never) {
			k.Errorf("the page shows %q", never)
		}
	}
	k.sees("#simulated", "模拟环境")

	// On paper there is the receipt and nothing else.
	k.must(chromedp.Do(k.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		return err
	})))
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if paper := k.text("body"); squeeze(paper) != squeeze(outcome.Receipt.Text) {
		k.Errorf("the paper shows\n%s\nthe receipt is\n%s", paper, outcome.Receipt.Text)
	}
	pdf, err := chromedp.Run(k.ctx, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperSize{Width: 80 / 25.4, Height: 210 / 25.4})))
	k.must(err)
	if len(pdf) < 1000 || string(pdf[:5]) != "%PDF-" {
		k.Errorf("printed: %d bytes", len(pdf))
	}

	// The page's session is no business of scripts.
	cookie, err := chromedp.Run(k.ctx, chromedp.Evaluate[string](`document.cookie`))
	k.must(err)
	if cookie != "" {
		k.Error("a script can read the page's session")
	}
}

func (k *clerk) playReload() {
	k.must(webtest.Open(k.ctx, k.daemon.where))
	k.must(webtest.AskPIN(k.ctx))
	k.must(webtest.StartVisit(k.ctx))
	k.reload("fees")
	k.must(webtest.AddLine(k.ctx, tablets))
	k.must(webtest.Trial(k.ctx, &webtest.Outcome{}))
	k.reload("tried")
	k.sees("#lines", "阿托伐他汀钙片", "126.00")
	k.must(orderFaults(k.center.where, "2207:hang-after"))
	_, err := webtest.Confirm(k.ctx)
	k.must(err)
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.must(k.center.says("2207 answered"))
	k.reload("settling")
	k.sees("#settling", "正在结算")
	k.must(releaseFaults(k.center.where))
	k.must(webtest.WaitStep(k.ctx, "settled"))
	first, err := webtest.ReadReceipt(k.ctx)
	k.must(err)
	k.reload("settled")
	again, err := webtest.ReadReceipt(k.ctx)
	k.must(err)
	if first != again || first.SettlementID == "" {
		k.Errorf("receipt %+v, after the reload %+v", first, again)
	}
	// Also over a new start of the daemon.
	k.watch.Allow("ERR_", "WebSocket", "401")
	k.restart(k.daemon.stop)
	k.must(webtest.Wait(k.ctx, `document.body.dataset.connected === "true"`))
	k.must(webtest.WaitStep(k.ctx, "settled"))
	again, err = webtest.ReadReceipt(k.ctx)
	k.must(err)
	if first != again {
		k.Errorf("receipt %+v, after the daemon's new start %+v", first, again)
	}
	k.must(webtest.NextPatient(k.ctx))
	k.noneTwice(1)
}

func (k *clerk) playUnknown() {
	k.watch.Allow("504")
	k.toTrial()
	k.must(orderFaults(k.center.where, "2207:drop-after"))
	k.must(webtest.SettleTo(k.ctx, "unknown"))
	k.inDoubt()
}

func (k *clerk) playKilled() {
	k.watch.Allow("ERR_", "WebSocket", "401")
	k.toTrial()
	k.must(orderFaults(k.center.where, "2207:hang-after"))
	_, err := webtest.Confirm(k.ctx)
	k.must(err)
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.must(k.center.says("2207 answered"))
	k.restart(k.daemon.kill)
	k.must(webtest.WaitStep(k.ctx, "unknown"))
	k.inDoubt()
}

// inDoubt checks a page whose settlement has an unknown outcome, and goes on to
// the next patient.
func (k *clerk) inDoubt() {
	k.Helper()
	k.sees("#outcome", "结算结果未知", "OC-2102", "不要再次结算")
	k.reload("unknown")
	k.sees("#outcome", "结算结果未知", "OC-2102")
	if shown, err := chromedp.Run(k.ctx, chromedp.Evaluate[bool](`["settle", "run-trial", "receipt", "print"].some((id) => document.getElementById(id).checkVisibility())`)); err != nil || shown {
		k.Errorf("something can be settled or printed in doubt (%v)", err)
	}
	k.must(webtest.NextPatient(k.ctx))
	k.must(webtest.WaitStep(k.ctx, "ready"))
	rows, err := webtest.Journal(k.ctx)
	k.must(err)
	if len(rows) != 1 || !strings.Contains(rows[0], "结果未知") || !strings.Contains(rows[0], "126.00") {
		k.Errorf("the journal on the page: %q", rows)
	}
	if day := k.journal(); len(day.Entries) != 1 || day.Entries[0].Outcome != "unknown" || day.Totals.Done != 0 {
		k.Errorf("journal %+v", day)
	}
	k.noneTwice(1)
}

// restart ends the daemon and starts it again at the same address, as a desk
// does.
func (k *clerk) restart(end func() error) {
	k.Helper()
	at, err := url.Parse(k.daemon.where)
	k.must(err)
	text, err := os.ReadFile(k.file("onecard.toml"))
	k.must(err)
	text = []byte(strings.Replace(string(text), `listen = "127.0.0.1:0"`, `listen = "`+at.Host+`"`, 1))
	k.must(os.WriteFile(k.file("onecard.toml"), text, 0o600))
	k.must(end())
	k.must(webtest.Wait(k.ctx, `document.body.dataset.connected === "false"`))
	k.sees("#connection", "连接已断开")
	k.startDaemon()
	k.await(func(s terminal.State) bool { return s.Visit != nil })
}

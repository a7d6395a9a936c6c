package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"onecard/terminal"
	"onecard/terminal/api"
)

type demoCmd struct {
	Once    bool   `help:"End after the visit."`
	PCSC    bool   `name:"pcsc" help:"Through pcscd; vpcd has to run (scripts/pcsc-namespace)." xor:"reader"`
	Virtual bool   `help:"With a reader in memory (the default)." xor:"reader"`
	Image   string `help:"Card image: 1.0, 2.0, 3.0, or a file." default:"3.0"`
	Listen  string `help:"Address of the service." default:"127.0.0.1:8750"`
}

//go:embed visit.json
var demoVisit []byte

// demoPIN is the PIN of every example image.
const demoPIN = "123456"

// Run plays a visit at a hospital counter against simulators, each a process of
// its own as in a hospital, and keeps serving.
func (c *demoCmd) Run(a *app) error {
	d := &demo{app: a, cmd: c}
	err := d.play()
	if err == nil && !c.Once {
		a.print("\nserving %s\n", d.addr)
		a.print("  %s\n  %s\n", a.say("浏览器打开上面的地址；Ctrl-C 结束。", "Open this address in a browser; Ctrl-C ends it."),
			fmt.Sprintf("export ONECARD_ADDR=%s ONECARD_STATE_DIR=%s", strings.TrimSuffix(d.addr, "/"), d.state))
		err = d.serve()
	}
	return errors.Join(err, d.end())
}

// demo is a running demonstration.
type demo struct {
	*app
	cmd   *demoCmd
	dir   string // of the simulators
	state string // of the daemon
	keep  bool   // the caller named the directory
	addr  string
	procs []*process
}

func (d *demo) play() error {
	var err error
	if d.dir, err = os.MkdirTemp("", "onecard-demo-"); err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	d.state = filepath.Join(d.dir, "state")
	if d.StateDir != defaultStateDir {
		d.state, d.keep = d.StateDir, true
	}
	hsm, err := d.start("hsm-sim", "hsm-sim", "serve", "--test", "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	center, err := d.start("center", "onecard", "sim", "center", "--listen", "127.0.0.1:0", "--ledger", filepath.Join(d.dir, "center.jsonl"))
	if err != nil {
		return err
	}
	if d.cmd.PCSC {
		if err := d.startCard(); err != nil {
			return err
		}
	}
	config, err := d.configure(hsm, center)
	if err != nil {
		return err
	}
	if d.addr, err = d.start("onecardd", "onecardd", "--config", config); err != nil {
		return err
	}
	return d.visit()
}

// startCard puts the simulated card into vpcd's reader, in vpcd's network.
func (d *demo) startCard() error {
	vpcd := os.Getenv("ONECARD_VPCD_ADDR")
	if vpcd == "" {
		vpcd = "127.0.0.1:35963"
	}
	_, err := d.startIn(strings.Fields(os.Getenv("ONECARD_VPCD_EXEC")), "card", "onecard", "sim", "card", "--image", d.cmd.Image, "--vpcd", vpcd)
	return err
}

// configure writes the configuration of a synthetic hospital.
func (d *demo) configure(hsm, center string) (string, error) {
	reader := "kind = \"virtual\"\nmatch = \"onecard virtual reader\"\nimage = " + quote(d.cmd.Image)
	if d.cmd.PCSC {
		reader = "kind = \"pcsc\"\nmatch = \"*\""
	}
	pin := filepath.Join(d.dir, "pin")
	prices := filepath.Join(d.dir, "prices.tsv")
	config := filepath.Join(d.dir, "onecard.toml")
	text := fmt.Sprintf(`# Made by onecard demo: simulators, test keys and synthetic people.
listen    = %s
state_dir = %s

[[reader]]
%s

[keys]
hsm = [%s]

[upstream]
url = %s

[institution]
code = "H51010000001"
name = "样例医院"
area = "510100"
terminal = "510100000001"

[operator]
no   = "0001"
name = "收费一"

[counter]
med_type        = "11"
department_code = "0300"
department_name = "内科"
specialty       = "A03"
doctor_code     = "D51010000001"
doctor_name     = "李医生"
diagnosis_code  = "I10.x00"
diagnosis_name  = "原发性高血压"
price_list      = %s

[pinpad]
kind     = "simulated"
pin_file = %s
`, quote(d.cmd.Listen), quote(d.state), reader, quote(hsm), quote(center), quote(prices), quote(pin))
	for file, content := range map[string]string{config: text, pin: demoPIN + "\n", prices: demoPrices} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("demonstration: %w", err)
		}
	}
	return config, nil
}

// quote writes a TOML basic string; a JSON string is one.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // a Go string always marshals
	}
	return string(text)
}

//go:embed prices.tsv
var demoPrices string

// demoTime bounds the whole visit: the machine may be slow, not stuck.
const demoTime = 2 * time.Minute

// visit plays a patient's visit and prints what a clerk would see.
func (d *demo) visit() error {
	ctx, cancel := context.WithTimeout(d.ctx, demoTime)
	defer cancel()
	client, err := api.NewClient(strings.TrimSuffix(d.addr, "/"), d.state)
	if err != nil {
		return err
	}
	d.title("卡片", "The card")
	state, err := client.Await(ctx, func(s terminal.State) bool {
		for _, r := range s.Readers {
			if r.State == terminal.ReaderReady || r.State == terminal.ReaderFailed {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("waiting for the card: %w", err)
	}
	var reader terminal.Reader
	for _, r := range state.Readers {
		if r.Card != nil {
			reader = r
		} else if r.Fault != nil && reader.Card == nil {
			reader = r
		}
	}
	if reader.Card == nil || reader.Card.Holder == nil {
		return &demoFault{reader}
	}
	c := reader.Card
	d.row("读卡器", "reader", reader.Name+" ("+reader.Kind+")")
	d.row("卡规范版本", "card version", c.Version+" "+c.Algorithm)
	d.row("卡片命令数", "commands", fmt.Sprintf("%d (%.1f ms)", c.Commands, c.Milliseconds))
	d.row("认证", "authenticated", d.yes(c.Authenticated))
	d.row("持卡人", "holder", c.Holder.Name+" "+c.Holder.Number)

	d.title("卡内信息（密码键盘为模拟）", "The records (the PIN pad is simulated)")
	if err := client.VerifyPIN(ctx, reader.ID, nil); err != nil {
		return fmt.Errorf("PIN: %w", err)
	}
	d.row("密码", "PIN", d.say("正确", "verified"))
	for _, want := range []struct{ zh, en, file, tag string }{
		{"养老", "pension", "DF03EF07", "70"},
		{"失业", "unemployment", "DF03EF05", "63"},
		{"医疗", "medical", "DF04EF05", "84"},
	} {
		if err := d.record(ctx, client, reader.ID, want.zh, want.en, want.file, want.tag); err != nil {
			return fmt.Errorf("%s: %w", want.file, err)
		}
	}
	return d.settle(ctx, client, reader.ID)
}

func (d *demo) record(ctx context.Context, client *api.Client, reader, zh, en, file, tag string) error {
	f, err := client.File(ctx, reader, file)
	if err != nil {
		return err
	}
	for _, r := range f.Records {
		if r.Tag != tag {
			continue
		}
		value := r.Value
		if r.Text != nil {
			value += " " + d.text(*r.Text)
		}
		d.row(zh, en, fmt.Sprintf("%s %s %s = %s", file, tag, d.text(r.Name), value))
		return nil
	}
	return fmt.Errorf("no record %s", tag)
}

// settle plays the visit of visit.json.
func (d *demo) settle(ctx context.Context, client *api.Client, reader string) error {
	var file visitFile
	if err := json.Unmarshal(demoVisit, &file); err != nil {
		return fmt.Errorf("visit.json: %w", err)
	}
	d.title("就诊", "The visit")
	file.Reader = reader
	visit, err := client.OpenVisit(ctx, file.VisitRequest)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	d.row("就诊登记", "registered", visit.ID+" → "+visit.MdtrtID)
	if visit, err = client.SetLines(ctx, visit.ID, terminal.LinesRequest{Lines: file.Lines}); err != nil {
		return fmt.Errorf("fee lines: %w", err)
	}
	if visit, err = client.Trial(ctx, visit.ID); err != nil {
		return fmt.Errorf("trial: %w", err)
	}
	d.title("试算", "The trial")
	for _, l := range visit.Lines {
		d.print("  %s × %s = %s  %s\n", l.Price, l.Quantity, l.Amount, l.Name)
	}
	d.split(visit.Trial)
	if visit, err = client.Settle(ctx, visit.ID, terminal.Agreed{Total: visit.Trial.Total, Cash: visit.Trial.Cash}); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	d.title("结算", "The settlement")
	r := visit.Receipt
	d.row("结算编号", "settlement id", r.SettlementID)
	d.row("结算时间", "time", r.Time)
	d.split(&r.Split)
	d.row("个人账户余额", "account balance", r.Balance)
	entry, err := client.Entry(ctx, visit.Journal)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	d.row("日志", "journal", fmt.Sprintf("%d %s", entry.ID, d.outcome(entry.Outcome)))
	return nil
}

func (d *demo) split(s *terminal.Split) {
	d.row("费用总额", "total", s.Total)
	d.row("基金支付", "insurance fund pays", s.Fund)
	d.row("个人账户支付", "personal account pays", s.Account)
	d.row("应付现金", "to pay", s.Cash)
}

func (d *demo) title(zh, en string) { d.print("\n%s\n", d.say(zh, en)) }

func (d *demo) row(zh, en, value string) { d.print("  %s: %s\n", d.say(zh, en), value) }

func (d *demo) yes(b bool) string {
	if b {
		return d.say("是", "yes")
	}
	return d.say("否", "no")
}

// demoFault is a reader whose card could not be read.
type demoFault struct{ reader terminal.Reader }

func (e *demoFault) Error() string {
	f := e.reader.Fault
	if f == nil && e.reader.Card != nil {
		f = e.reader.Card.AuthFault
	}
	if f == nil {
		return "the card was not read"
	}
	return fmt.Sprintf("the card was not read: %s %s %s", f.Code, f.Text.English, f.Detail)
}

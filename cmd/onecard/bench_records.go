package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/card/planstore"
	"onecard/reader"
	"onecard/reader/pcsc"
	"onecard/reader/virtual"
	"onecard/terminal"
)

// records measures three things that are done with a card, from its insertion
// on, against the fewest commands that the card permits and against one command
// a record, the way of the drivers in use: those commands are really sent, over
// the same session. Without pcscd the commands are counted with a simulated card
// in memory, which has the same number of them, and no times are given.
func (b *bench) records(ctx context.Context) (err error) {
	p := &recordBench{kh: &ringHolder{ring: keys.TestRing(keys.Reference())}}
	if b.cmd.PCSC {
		driver := pcsc.New()
		defer func() {
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
			defer cancel()
			err = errors.Join(err, driver.Close(ending))
		}()
		found := &cardBench{driver: driver}
		if err := found.find(ctx); err != nil {
			return err
		}
		p.driver, p.slot = driver, found.slot
	} else {
		image, err := cardsim.Example("3.0")
		if err != nil {
			return err
		}
		sim, err := cardsim.New(image)
		if err != nil {
			return err
		}
		driver := virtual.New("bench")
		defer driver.Stop()
		if err := driver.Insert("bench", sim); err != nil {
			return err
		}
		p.driver, p.slot = driver, "bench"
	}
	store, err := planstore.Open(filepath.Join(b.dir, "bench-cards.db"), time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	p.plans = store.Plans()
	return b.compareRecords(ctx, p)
}

// recordBench uses one card again and again, each time as if it had just been
// put in.
type recordBench struct {
	driver  reader.Driver
	slot    string
	kh      *ringHolder
	plans   card.PlanStore
	rewrote int // times, by whichever side: every other time with other values
}

// A task is something done with a card.
type task struct {
	id     string
	title  terminal.Text
	fewest int     // commands, by the file structure and the access conditions
	aim    float64 // of the commands against the fewest
	do     func(ctx context.Context, p *recordBench, c *card.Card) error
	plain  func(sent [][]byte) plainScript // what the other way sends, from what onecard sent
	keys   map[byte]string                 // by P2 of EXTERNAL AUTHENTICATE
	note   terminal.Text
}

// tasks are the three. The fewest commands of
//   - the identity: SELECT, READ EF05, INTERNAL, CHALLENGE, EXTERNAL, READ EF06;
//   - the summary: those and VERIFY; four directories; 13 linear and three cyclic
//     files at one READ each, balance and two totals; CHALLENGE and EXTERNAL for
//     the file that wants PIN and key;
//   - rewriting: SELECT, READ EF05 and VERIFY; SELECT, CHALLENGE, EXTERNAL and six
//     UPDATE. onecard reads the file before it plans, again before it writes, so
//     that nothing is overwritten unseen, and once more to compare.
func tasks() []task {
	return []task{{
		id: "records_identity", fewest: 6, aim: 1,
		title: terminal.Text{Chinese: "识别 3.0 卡持卡人", English: "identity of a 3.0 card"},
		do: func(ctx context.Context, p *recordBench, c *card.Card) error {
			id, err := c.Identity(ctx, p.kh)
			return errors.Join(err, id.AuthError, id.HolderError)
		},
		plain: plainIdentity, keys: map[byte]string{0x0A: "RKSSSE"},
	}, {
		id: "records_summary", fewest: 32,
		title: terminal.Text{Chinese: "输入密码后的权益概要", English: "entitlement summary with PIN"},
		do: func(ctx context.Context, p *recordBench, c *card.Card) error {
			if err := c.VerifyPIN(ctx, card.PIN(demoPIN)); err != nil {
				return err
			}
			sum, err := c.Summary(ctx, p.kh)
			if err == nil && len(sum.Missing) > 0 {
				err = sum.Missing[0].Reason
			}
			return err
		},
		plain: plainReading, keys: map[byte]string{0x0A: "RKSSSE", 0x84: "RK1DF04"},
		note: terminal.Text{
			Chinese: "循环文件的记录不带长度：onecard 先读一条以得知长度，再读其余",
			English: "records of cyclic files do not tell their length: onecard reads one, to know it, and then the others",
		},
	}, {
		id: "records_rewrite", fewest: 12,
		title: terminal.Text{Chinese: "重写养老保险文件（六条记录）", English: "rewriting the pension file, six records"},
		do: func(ctx context.Context, p *recordBench, c *card.Card) error {
			if err := c.VerifyPIN(ctx, card.PIN(demoPIN)); err != nil {
				return err
			}
			return p.rewrite(ctx, c)
		},
		plain: plainRewriting, keys: map[byte]string{0x88: "UK3DF03"},
		note: terminal.Text{
			Chinese: "onecard 另读三次：计划前、写入前、写入后核对；含写卡日志落盘",
			English: "onecard reads the file three times more: before it plans, before it writes, and to compare; its journal of the plan is on disk",
		},
	}}
}

// rewrite changes all six records of the pension file.
func (p *recordBench) rewrite(ctx context.Context, c *card.Card) error {
	values := [][]string{
		{"70=120", "71=330100", "6E=1998-07-02", "6C=2008-07-13", "6F=2008-08-02", "73=2026-11-21"},
		{"70=110", "71=510100", "6E=1998-07-01", "6C=2008-07-12", "6F=2008-08-01", "73=2026-01-05"},
	}
	var changes []card.Change
	for _, text := range values[p.rewrote%2] {
		change, err := card.ParseChange(card.FileID{DF: "DF03", EF: "EF07"}, text)
		if err != nil {
			return err
		}
		changes = append(changes, change)
	}
	plan, err := c.NewPlan(ctx, p.kh, changes...)
	if err != nil {
		return err
	}
	if len(plan.Items) != len(changes) {
		return fmt.Errorf("%d of %d records differ", len(plan.Items), len(changes))
	}
	p.rewrote++
	return c.Execute(ctx, p.kh, p.plans, plan)
}

// inserted runs do with the card as if it had just been put in.
func (p *recordBench) inserted(ctx context.Context, do func(*reader.Session, *recorder) error) error {
	link, err := p.driver.Open(ctx, p.slot, reader.Shared)
	if err != nil {
		return err
	}
	r := &recorder{Link: link}
	s := reader.NewSession(r, reader.SlotState{Slot: p.slot})
	err = s.Reset(ctx)
	if err == nil {
		err = s.Do(ctx, func() error { return do(s, r) })
	}
	return errors.Join(err, s.Close())
}

// ours does a task and returns what was sent and how long it took.
func (p *recordBench) ours(ctx context.Context, t task) (sent [][]byte, took time.Duration, err error) {
	err = p.inserted(ctx, func(s *reader.Session, r *recorder) (err error) {
		took, err = timed(func() error {
			c, err := card.Open(ctx, s)
			if err != nil {
				return err
			}
			return t.do(ctx, p, c)
		})
		sent = r.sent
		return err
	})
	return sent, took, err
}

// theirs plays a script over the same kind of session. Decoding is not in it.
func (p *recordBench) theirs(ctx context.Context, t task, script [][]byte) (took time.Duration, err error) {
	if t.id == "records_rewrite" {
		defer func() { p.rewrote++ }()
	}
	err = p.inserted(ctx, func(s *reader.Session, _ *recorder) (err error) {
		var atr reader.ATR
		if atr, err = reader.ParseATR(s.ATR()); err != nil {
			return err
		}
		subject := keys.Subject{Algorithm: keys.SM4, Area: "510100"}
		if copy(subject.Historical[:], atr.Historical) != len(subject.Historical) {
			return errors.New("the card has no 13 historical bytes")
		}
		took, err = timed(func() error {
			var challenge []byte
			for _, raw := range script {
				c, err := apdu.ParseCommand(raw)
				if err != nil {
					return err
				}
				if c.INS == 0x82 {
					auth, err := p.kh.ExternalAuth(ctx, subject, t.keys[c.P2], challenge, [8]byte(c.Data[8:16]))
					if err != nil {
						return err
					}
					c.Data = append(auth[:], c.Data[8:]...)
				}
				r, err := s.Exchange(ctx, c)
				if err == nil {
					err = r.Status.Err()
				}
				if err != nil {
					return fmt.Errorf("one command a record: %X: %w", raw[:4], err)
				}
				if c.INS == 0x84 {
					challenge = r.Data
				}
			}
			return nil
		})
		return err
	})
	return took, err
}

// A plainScript makes the commands of the other way; count tells how many
// records of the current file there are.
type plainScript func(count func(selected [][]byte) (int, error)) ([][]byte, error)

func command(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // a constant
	}
	return b
}

// plainIdentity is a session as public clients do it (card specification,
// section 7): 20 commands.
func plainIdentity(sent [][]byte) plainScript {
	return func(func([][]byte) (int, error)) ([][]byte, error) {
		var list [][]byte
		add := func(commands ...[]byte) { list = append(list, commands...) }
		ssse, internal, external := sent[0], firstOf(sent, 0x88), firstOf(sent, 0x82)
		ef05, ef06, challenge := command("00A4020002EF05"), command("00A4020002EF06"), command("0084000008")
		read := func(tags ...byte) {
			for _, tag := range tags {
				add([]byte{0x00, 0xB2, tag, 0x00, 0x00})
			}
		}
		add(ssse, ef05)
		read(0x01, 0x03, 0x07)
		add(ssse, challenge, challenge, internal, challenge, challenge, external, ef05)
		read(0x03, 0x05, 0x06)
		add(ef06)
		read(0x08, 0x09, 0x4E)
		return list, nil
	}
}

func firstOf(sent [][]byte, ins byte) []byte {
	for _, c := range sent {
		if c[1] == ins {
			return c
		}
	}
	return nil
}

// plainReading selects every file and reads its records one by one.
func plainReading(sent [][]byte) plainScript {
	return func(count func([][]byte) (int, error)) ([][]byte, error) {
		var list, path [][]byte // path: what selecting and opening the file needs
		for _, c := range sent {
			if c[1] != 0xB2 {
				list, path = append(list, c), append(path, c)
				continue
			}
			if c[2] != 1 {
				continue // the rest of a file that took several commands
			}
			ef := []byte{0x00, 0xA4, 0x02, 0x00, 0x02, 0xEF, c[3] >> 3}
			n, err := count(append(path[:len(path):len(path)], ef))
			if err != nil {
				return nil, err
			}
			list = append(list, ef)
			for i := range n {
				list = append(list, []byte{0x00, 0xB2, byte(i + 1), 0x04, 0x00})
			}
		}
		return list, nil
	}
}

// plainRewriting reads, updates and reads every record by itself.
func plainRewriting(sent [][]byte) plainScript {
	return func(func([][]byte) (int, error)) ([][]byte, error) {
		list := append([][]byte(nil), sent[:4]...) // SELECT, READ EF05, VERIFY, SELECT
		list = append(list, firstOf(sent, 0x84), firstOf(sent, 0x82), command("00A4020002EF07"))
		for _, c := range sent {
			if c[1] == 0xDC {
				update := bytes.Clone(c)
				update[3] = 0x04 // of the current file
				read := []byte{0x00, 0xB2, c[2], 0x04, 0x00}
				list = append(list, read, update, read)
			}
		}
		return list, nil
	}
}

// count asks the card how many records the file has that these commands select.
func (p *recordBench) count(ctx context.Context, t task) func([][]byte) (int, error) {
	return func(selecting [][]byte) (n int, err error) {
		for n < 255 {
			next := append(selecting[:len(selecting):len(selecting)], []byte{0x00, 0xB2, byte(n + 1), 0x04, 0x00})
			if _, err := p.theirs(ctx, t, next); errors.Is(err, apdu.ErrRecordNotFound) {
				return n, nil
			} else if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
}

func (b *bench) compareRecords(ctx context.Context, p *recordBench) error {
	for _, t := range tasks() {
		// Twice, because every other rewriting has other values.
		var scripts [2][][]byte
		var sent [][]byte
		for i := range scripts {
			var err error
			if sent, _, err = p.ours(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", t.id, err)
			}
			if scripts[i], err = t.plain(sent)(p.count(ctx, t)); err != nil {
				return fmt.Errorf("%s: %w", t.id, err)
			}
		}
		ours := terminal.Text{Chinese: "onecard", English: "onecard"}
		perRecord := terminal.Text{Chinese: "每条记录一条命令", English: "one command a record"}
		b.add(comparison{ID: t.id, Aim: t.aim, Title: terminal.Text{Chinese: t.title.Chinese + "：命令数", English: t.title.English + ": commands"},
			Figures: []figure{{Name: ours, Median: float64(len(sent))},
				{Name: terminal.Text{Chinese: "卡片允许的最少命令数", English: "the fewest that the card permits"}, Median: float64(t.fewest)},
				{Name: perRecord, Median: float64(len(scripts[0]))}},
			Note: b.text(t.note)})
		c := comparison{ID: t.id + "_time", Unit: "ms", Title: terminal.Text{Chinese: t.title.Chinese + "，经 pcscd", English: t.title.English + ", through pcscd"}}
		if !b.cmd.PCSC {
			// In memory a command costs nothing, and commands are what it is about.
			c.Skip = "no PC/SC: " + b.because
			b.add(c)
			continue
		}
		found, err := interleave(ctx, b.runs(300),
			side{ours, func(ctx context.Context) ([]time.Duration, error) {
				_, took, err := p.ours(ctx, t)
				return []time.Duration{took}, err
			}},
			side{perRecord, func(ctx context.Context) ([]time.Duration, error) {
				took, err := p.theirs(ctx, t, scripts[p.rewrote%2])
				return []time.Duration{took}, err
			}})
		if err != nil {
			return err
		}
		c.Figures = []figure{summarise(ours, found[0][0]), summarise(perRecord, found[1][0])}
		b.add(c)
	}
	return b.decoding(ctx, p)
}

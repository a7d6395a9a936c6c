package main

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver of both journals

	"onecard/settlement"
	"onecard/terminal"
	"onecard/terminal/api"
)

// settlements measures POST settle at the daemon, journal and all, against a
// program that posts the same 2207 to the same centre and appends one row to a
// file, durably. Each settlement has a visit of its own, made outside the time.
func (b *bench) settlements(ctx context.Context) error {
	client, reader, err := b.daemon(ctx)
	if err != nil {
		return err
	}
	fresh, memErr := residentMemory(b.last().cmd.Process.Pid)
	document, err := client.Identity(ctx, reader.ID)
	if err != nil {
		return err
	}
	var file visitFile
	if err := json.Unmarshal(demoVisit, &file); err != nil {
		return fmt.Errorf("visit.json: %w", err)
	}
	plain, err := newBareDesk(ctx, b.center, b.addr, b.dir, document, file)
	if err != nil {
		return err
	}
	file.Reader = reader.ID
	names := []terminal.Text{
		{Chinese: "onecard：接口、日志、中心", English: "onecard: API, journal, centre"},
		{Chinese: "同样的 2207 直接发给中心，加一行落盘的 SQLite", English: "the same 2207 posted to the centre, and one SQLite row with fsync"},
		{Chinese: "再加一次空的接口调用和第二行", English: "and besides an empty call of the API and a second row"},
	}
	found, err := interleave(ctx, b.runs(300),
		side{names[0], func(ctx context.Context) ([]time.Duration, error) { return settleOnce(ctx, client, file) }},
		side{names[1], plain.settle})
	if err = errors.Join(err, plain.close()); err != nil {
		return err
	}
	b.add(comparison{ID: "settlement", Unit: "ms", Aim: 1.5,
		Title:   terminal.Text{Chinese: "一次结算", English: "a settlement"},
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0])}})
	b.add(comparison{ID: "settlement_parts", Unit: "ms",
		Title:   terminal.Text{Chinese: "同上，对照也经过两次调用、两次落盘", English: "the same against two calls and two rows, as onecard has to make"},
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[2], found[1][1])}})
	full, err := residentMemory(b.last().cmd.Process.Pid)
	b.memory(fresh, full, len(found[0][0]), errors.Join(memErr, err))
	return b.stopLast()
}

// settleOnce plays a visit and returns how long settling it took.
func settleOnce(ctx context.Context, client *api.Client, file visitFile) ([]time.Duration, error) {
	visit, err := client.OpenVisit(ctx, file.VisitRequest)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if _, err = client.SetLines(ctx, visit.ID, terminal.LinesRequest{Lines: file.Lines}); err != nil {
		return nil, fmt.Errorf("fee lines: %w", err)
	}
	if visit, err = client.Trial(ctx, visit.ID); err != nil {
		return nil, fmt.Errorf("trial: %w", err)
	}
	agreed := terminal.Agreed{Total: visit.Trial.Total, Cash: visit.Trial.Cash}
	took, err := timed(func() error { visit, err = client.Settle(ctx, visit.ID, agreed); return err })
	if err == nil && visit.Receipt == nil {
		err = errors.New("settled without a receipt")
	}
	return []time.Duration{took}, err
}

// bareDesk settles with nothing but an HTTP client and a file.
type bareDesk struct {
	file   visitFile
	client *settlement.Client // for what comes before the settlement
	scope  settlement.Scope
	card   terminal.IdentityCard
	holder terminal.IdentityHolder
	person settlement.Person
	url    string
	api    string // of the daemon
	http   *http.Client
	db     *sql.DB
	insert *sql.Stmt
	visits int
}

// newBareDesk signs in at the centre as another institution than the daemon, so
// that the numbers of both never clash.
func newBareDesk(ctx context.Context, center, api, dir string, d terminal.IdentityDocument, file visitFile) (*bareDesk, error) {
	if d.Holder == nil {
		return nil, errors.New("the card was not read")
	}
	desk := &bareDesk{file: file, url: center, api: api, http: &http.Client{}, card: d.Card, holder: *d.Holder}
	var err error
	if desk.client, err = settlement.NewClient(settlement.Config{
		URL:         center,
		Institution: settlement.Institution{Code: "H51010000002", Name: "对照医院", Area: "510100"},
		Operator:    settlement.Operator{No: "0002", Name: "收费二"},
	}); err != nil {
		return nil, err
	}
	signed, err := desk.client.SignIn(ctx, settlement.SignIn{OpterNo: "0002", Mac: "00-00-00-00-00-00", IP: "127.0.0.1"})
	if err != nil {
		return nil, err
	}
	desk.scope.SignNo = string(signed.SignNo)
	if desk.person, err = desk.client.Person(ctx, desk.scope, settlement.PersonQuery{
		MdtrtCertType: "03", MdtrtCertNo: desk.card.Number, CardSN: desk.card.IdentificationCode,
		PsnCertType: "01", Certno: desk.holder.SocialSecurityNumber, PsnName: desk.holder.Name,
	}); err != nil {
		return nil, err
	}
	desk.scope.InsuplcAdmdvs = string(desk.person.InsuInfo[0].InsuplcAdmdvs)
	desk.db, desk.insert, err = plainJournal(ctx, filepath.Join(dir, "plain.db"))
	return desk, err
}

// plainJournal is a table without constraints in the mode of the journal: what
// one durable append costs.
func plainJournal(ctx context.Context, path string) (*sql.DB, *sql.Stmt, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE line (id INTEGER PRIMARY KEY, request BLOB, answer BLOB)`); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO line (request, answer) VALUES (?1, ?2)`)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, insert, nil
}

func (d *bareDesk) close() error {
	d.client.Close()
	d.http.CloseIdleConnections()
	return errors.Join(d.insert.Close(), d.db.Close())
}

// settle makes a visit and returns how long the bare settlement took.
func (d *bareDesk) settle(ctx context.Context) ([]time.Duration, error) {
	p, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	var answer []byte
	took, err := timed(func() (err error) {
		if answer, err = d.post(ctx, d.url, p.Body); err != nil {
			return err
		}
		_, err = d.insert.ExecContext(ctx, p.Body, answer)
		return err
	})
	if err != nil {
		return nil, err
	}
	// What onecard has to do besides: another program calls it, and the
	// intention is written down before the outcome.
	besides, err := timed(func() error {
		if _, err := d.post(ctx, d.api, p.Body); err != nil {
			return err
		}
		_, err := d.insert.ExecContext(ctx, p.Body, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := booked(answer); err != nil {
		return nil, err
	}
	return []time.Duration{took, took + besides}, nil
}

// booked reports an answer to 2207 that says something else.
func booked(answer []byte) error {
	var said struct {
		Infcode json.RawMessage `json:"infcode"`
	}
	if err := json.Unmarshal(answer, &said); err != nil || strings.Trim(string(said.Infcode), `"`) != "0" {
		return fmt.Errorf("2207 was not booked: infcode %s: %w", said.Infcode, cmp.Or(err, errors.New("refused")))
	}
	return nil
}

func (d *bareDesk) post(ctx context.Context, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// prepare brings a visit to the payer's consent and returns its 2207.
func (d *bareDesk) prepare(ctx context.Context) (*settlement.Prepared, error) {
	d.visits++
	now := settlement.FormatTime(time.Now())
	insured, psnNo := d.person.InsuInfo[0], string(d.person.BaseInfo.Value.PsnNo)
	// Two bare sides of one run may begin in the same second.
	number := fmt.Sprintf("B%d-%d", time.Now().UnixNano(), d.visits)
	registered, err := d.client.Register(ctx, d.scope, settlement.Registration{
		PsnNo: psnNo, Insutype: string(insured.Insutype), Begntime: now,
		MdtrtCertType: "03", MdtrtCertNo: d.card.Number, CardSN: d.card.IdentificationCode,
		PsnCertType: "01", Certno: d.holder.SocialSecurityNumber, PsnType: string(insured.PsnType), PsnName: d.holder.Name,
		IptOtpNo: number, AtddrNo: d.file.Doctor.Code, DrName: d.file.Doctor.Name,
		DeptCode: d.file.Department.Code, DeptName: d.file.Department.Name, Caty: "A03",
	})
	if err != nil {
		return nil, err
	}
	mdtrtID := string(registered.MdtrtID)
	disease := d.file.Diagnoses[0]
	if err := d.client.UploadVisit(ctx, d.scope, settlement.VisitUpload{
		MdtrtInfo: settlement.MdtrtInfo{MdtrtID: mdtrtID, PsnNo: psnNo, MedType: "11", Begntime: now, DiseCodg: disease.Code, DiseName: disease.Name},
		DiseInfo: []settlement.DiseInfo{{
			DiagType: "1", DiagSrtNo: 1, DiagCode: disease.Code, DiagName: disease.Name, DiagDept: d.file.Department.Name,
			DiseDorNo: d.file.Doctor.Code, DiseDorName: d.file.Doctor.Name, DiagTime: now, ValiFlag: "1",
		}},
	}); err != nil {
		return nil, err
	}
	lines, err := d.lines(mdtrtID, psnNo, number, now)
	if err != nil {
		return nil, err
	}
	results, err := d.client.UploadFees(ctx, d.scope, lines)
	if err != nil {
		return nil, err
	}
	split, err := settlement.SumSplit(results)
	if err != nil {
		return nil, err
	}
	if _, err := d.client.Trial(ctx, d.scope, settlement.TrialInput{
		PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: d.card.Number, CardSN: d.card.IdentificationCode,
		PsnCertType: "01", Certno: d.holder.SocialSecurityNumber, PsnType: string(insured.PsnType), PsnName: d.holder.Name,
		MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01", MdtrtID: mdtrtID, ChrgBchno: number,
		AcctUsedFlag: "1", Insutype: string(insured.Insutype),
	}); err != nil {
		return nil, err
	}
	return d.client.Prepare(ctx, settlement.Request{
		Infno: "2207", InsuplcAdmdvs: d.scope.InsuplcAdmdvs, SignNo: d.scope.SignNo,
		Input: map[string]settlement.SettleInput{"data": {
			PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: d.card.Number, CardSN: d.card.IdentificationCode,
			PsnCertType: "01", Certno: d.holder.SocialSecurityNumber, MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01",
			MdtrtID: mdtrtID, ChrgBchno: number, Insutype: string(insured.Insutype), AcctUsedFlag: "1",
			FulamtOwnpayAmt: split.FulamtOwnpayAmt, OverlmtSelfpay: split.OverlmtSelfpay,
			PreselfpayAmt: split.PreselfpayAmt, InscpScpAmt: split.InscpScpAmt,
		}},
	})
}

// lines are the fee lines of the demonstration's visit.
func (d *bareDesk) lines(mdtrtID, psnNo, batch, now string) ([]settlement.FeeDetail, error) {
	lines := make([]settlement.FeeDetail, len(d.file.Lines))
	for i, l := range d.file.Lines {
		price, err := settlement.ParsePrice(l.Price)
		if err != nil {
			return nil, err
		}
		quantity, err := settlement.ParseQuantity(l.Quantity)
		if err != nil {
			return nil, err
		}
		amount, err := settlement.LineAmount(price, quantity)
		if err != nil {
			return nil, err
		}
		lines[i] = settlement.FeeDetail{
			FeedetlSN: settlement.SerialNo{Value: strconv.Itoa(i + 1)}, MdtrtID: mdtrtID, PsnNo: psnNo, ChrgBchno: batch,
			RxCircFlag: "0", FeeOcurTime: now, MedListCodg: l.Code, MedinsListCodg: l.Code,
			DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: d.file.Department.Code, BilgDeptName: d.file.Department.Name,
			BilgDrCodg: d.file.Doctor.Code, BilgDrName: d.file.Doctor.Name, HospApprFlag: "1",
		}
	}
	return lines, nil
}

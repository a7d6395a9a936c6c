package centersim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

const notice = "这是 onecard 的医保中心模拟器：人员、目录和政策都是虚构的，不产生真实结算。\n" +
	"THIS IS A SIMULATOR of an insurance centre: people, catalogue and policy are synthetic, nothing is really settled.\n"

// Handler serves the interface, GET / and /healthz (both say that this is a
// simulator), and, to callers on this machine only, /sim/faults,
// /sim/settlements and /sim/ledger, and what other centres hand on.
func (c *Center) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(callService, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, "") })
	for infno, path := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, infno) })
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, notice)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		booked := c.ledger.seq
		c.mu.Unlock()
		status, code := "ok", http.StatusOK
		if c.ledger.ready() != nil {
			status, code = "the ledger cannot be written", http.StatusServiceUnavailable
		}
		writeJSON(w, code, object{"simulator": true, "notice": notice, "status": status, "ledger_lines": booked})
	})
	mux.HandleFunc("GET /sim/faults", c.local(c.listFaults))
	mux.HandleFunc("POST /sim/faults", c.local(c.orderFaults))
	mux.HandleFunc("GET /sim/settlements", c.local(c.listSettlements))
	mux.HandleFunc("GET /sim/ledger", c.local(c.dumpLedger))
	mux.HandleFunc("POST "+forwardPath, c.local(c.takeForwarded))
	mux.HandleFunc("GET "+rowsPath, c.local(c.listRows))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, object{"code": 404, "message": "没有该接口（医保中心模拟器）"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.enter() {
			writeJSON(w, http.StatusServiceUnavailable, object{"code": 503, "message": "医保中心模拟器正在停止"})
			return
		}
		defer c.active.Done()
		mux.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		// Only values made here are written; they all marshal.
		status, b = http.StatusInternalServerError, []byte(`{"code":500,"message":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	// An error means that the caller has left.
	w.Write(b)
}

// abort closes the connection without an answer: net/http's own way of doing
// so, caught by its server.
func abort() { panic(http.ErrAbortHandler) }

// serve takes one request of the interface, at the path of one transaction or
// (infno "") at callService.
func (c *Center) serve(w http.ResponseWriter, r *http.Request, infno string) {
	w.Header().Set("Date", c.now().UTC().Format(http.TimeFormat))
	if r.Method != http.MethodPost {
		// Who asks for the time only sees the clock that a transaction would.
		w.Header().Set("Date", c.now().Add(c.faults.clock(infno)).UTC().Format(http.TimeFormat))
		w.Header().Set("Allow", http.MethodPost)
		writeJSON(w, http.StatusMethodNotAllowed, object{"code": 405, "message": "仅支持POST"})
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		writeJSON(w, http.StatusUnsupportedMediaType, object{"code": 415, "message": "Content-Type应为application/json"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.config.MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			writeJSON(w, http.StatusRequestEntityTooLarge, object{"code": 413, "message": "报文过大"})
			return
		}
		writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": "报文不完整"})
		return
	}
	body, problem := c.gateway.admit(r.Header, body, c.now())
	if problem != "" {
		c.config.Logf("gateway refused: %s", problem)
		writeJSON(w, c.config.GatewayStatus, object{"code": 401, "message": problem})
		return
	}
	c.take(w, r, body, infno, false)
}

// take decides one request whose sender is known: an institution's or, already
// looked at, another centre's.
func (c *Center) take(w http.ResponseWriter, r *http.Request, body []byte, infno string, forwarded bool) {
	received := c.now()
	envelope, err := parseObject(body)
	if err != nil {
		err = refuse("报文格式错误：%v", err)
	} else if got := envelope.text("infno"); infno != "" && got != infno {
		err = refuse("交易编号[%s]与访问地址不一致", printable(got))
	} else {
		infno = got
	}
	faults := c.faults.take(infno)
	if f, ok := faults[Clock]; ok {
		received = received.Add(f.For)
		w.Header().Set("Date", received.UTC().Format(http.TimeFormat))
	}
	if c.before(w, r, infno, faults) {
		return
	}
	var output any
	var relayed object
	if err == nil {
		err = faults.ordered()
	}
	if err == nil {
		output, relayed, err = c.execute(r.Context(), envelope, forwarded)
	}
	answer, status := c.answer(infno, received, output, err)
	if relayed != nil {
		answer = relayed
	}
	if status != http.StatusOK {
		writeJSON(w, status, answer)
		return
	}
	c.after(w, r, infno, faults, answer, forwarded)
}

// execute checks, decides, books and waits for the disk; or hands on to another
// centre and returns its whole answer.
func (c *Center) execute(ctx context.Context, envelope record, forwarded bool) (output any, relayed object, err error) {
	r, err := c.table.parseRequest(envelope)
	if err != nil {
		return nil, nil, err
	}
	r.forwarded = forwarded
	base, err := c.destination(r)
	if err != nil {
		return nil, nil, err
	}
	if base != "" {
		if err := c.admits(r); err != nil {
			return nil, nil, err
		}
		relayed, err := c.forward(ctx, base, envelope)
		return nil, relayed, err
	}
	if strings.HasPrefix(r.infno, "32") && len(c.config.Routes) > 0 {
		if r.foreign, err = c.foreignRows(ctx, r.institution); err != nil {
			return nil, nil, err
		}
	}
	output, err = c.decide(r)
	return output, nil, err
}

// admits tells whether an institution may ask another centre through this one.
func (c *Center) admits(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.known(r); err != nil {
		return err
	}
	return c.signedIn(r, c.now())
}

func (c *Center) decide(r *request) (any, error) {
	if err := c.ledger.ready(); errors.Is(err, ErrDatabase) {
		c.config.Logf("%v", err)
		return nil, refuse("系统故障：账本数据库暂不可用，未记账")
	}
	output, seq, err := c.book(r)
	// Also an answer that books nothing may rest on a booking of another
	// request that is not on the disk yet.
	if failed := c.ledger.sync(seq); failed != nil {
		return nil, failed
	}
	return output, err
}

func (c *Center) book(r *request) (output any, seq int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, output, err := c.transact(r, c.now())
	if err != nil || e == nil {
		return output, c.ledger.seq, err
	}
	seq, err = c.ledger.append(e)
	if err != nil {
		c.config.Logf("%v", err)
		return nil, c.ledger.seq, refuse("系统故障：账本无法写入，未记账")
	}
	if err := c.state.apply(e); err != nil {
		// The checks let something through that the state cannot hold: what is
		// in the ledger now would not replay, so nothing more may follow it.
		c.ledger.fail(fmt.Errorf("booking %d: %w", seq, err))
		return nil, seq, err
	}
	return c.output(e), seq, nil
}

// replay applies one event of the ledger at the start.
func (c *Center) replay(seq int64, text []byte) error {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return errors.New("not an event")
	}
	if (seq == 1) != (e.Opened != nil) {
		return errors.New("the file's own event is not the first")
	}
	return c.state.apply(&e)
}

// words are what centres put into err_msg on success.
var words = map[string]any{"9001": "", "1101": nil, "2201": "", "2202": "", "2203": nil, "2204": "success", "2205": nil, "2206": "", "2207": "成功", "2208": "退费成功"}

// answer makes the envelope. A failure that is not a refusal leaves the caller
// not knowing: HTTP 500.
func (c *Center) answer(infno string, received time.Time, output any, err error) (object, int) {
	const stamp = "20060102150405.000"
	compact := func(t time.Time) string { return strings.Replace(t.Format(stamp), ".", "", 1) }
	a := object{
		"infcode":      0,
		"inf_refmsgid": fmt.Sprintf("SIM000%s%010d", received.Format("20060102150405"), c.refmsg.Add(1)),
		"refmsg_time":  compact(received), "respond_time": compact(received),
		"err_msg": words[infno], "warn_msg": nil, "cainfo": nil, "signtype": nil, "enctype": nil,
		"output": output,
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		c.config.Logf("%s refused: %s", printable(infno), no.message)
		a["infcode"], a["err_msg"], a["output"] = -1, no.message, nil
	case err != nil:
		c.config.Logf("%s failed: %v", printable(infno), err)
		return object{"code": 500, "message": "系统故障，结果未知"}, http.StatusInternalServerError
	default:
		c.config.Logf("%s answered", infno)
	}
	return a, http.StatusOK
}

// before lets happen what was ordered before the booking; true: the request is
// over.
func (c *Center) before(w http.ResponseWriter, r *http.Request, infno string, faults met) bool {
	for kind := range faults {
		c.config.Logf("%s meets %s", printable(infno), kind)
	}
	if f, ok := faults[Delay]; ok {
		timer := time.NewTimer(f.For)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.stop:
			abort()
		}
	}
	if _, ok := faults[HangBefore]; ok && !c.faults.hang(r.Context().Done(), c.stop) {
		abort()
	}
	if _, ok := faults[DropBefore]; ok {
		abort()
	}
	return misanswer(w, faults, HTTPBefore, HTMLBefore)
}

// misanswer answers with an HTTP error or a page, if that was ordered.
func misanswer(w http.ResponseWriter, faults met, status, page FaultKind) bool {
	if f, ok := faults[status]; ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(f.Number)
		fmt.Fprintf(w, "%d %s\n", f.Number, http.StatusText(f.Number))
		return true
	}
	if _, ok := faults[page]; ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!DOCTYPE html><html><head><title>系统维护</title></head><body><h1>系统维护中，请稍后再试</h1></body></html>\n")
		return true
	}
	return false
}

// after writes the answer of something decided, spoiled as ordered.
func (c *Center) after(w http.ResponseWriter, r *http.Request, infno string, faults met, answer object, forwarded bool) {
	if _, ok := faults[HangAfter]; ok && !c.faults.hang(r.Context().Done(), c.stop) {
		abort()
	}
	if _, ok := faults[DropAfter]; ok {
		abort()
	}
	if misanswer(w, faults, HTTPAfter, HTMLAfter) {
		return
	}
	before := ""
	if _, ok := faults[DuplicateSetl]; ok {
		before = c.settledBefore(answer)
	}
	faults.spoil(answer, before)
	b, err := json.Marshal(answer)
	if err == nil && !forwarded {
		b, err = c.gateway.seal(b)
	}
	if err != nil {
		c.config.Logf("%s: %v", printable(infno), err)
		writeJSON(w, http.StatusInternalServerError, object{"code": 500, "message": "系统故障，结果未知"})
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	if f, ok := answer["output"].(fileContent); ok {
		if _, foreign := faults[ForeignMsgID]; foreign {
			if f, err = foreignFile(f); err != nil {
				c.config.Logf("%s: %v", printable(infno), err)
			}
		}
		// 9102 answers with the file itself, and with an envelope only when it refuses.
		b = f.content
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	}
	if _, ok := faults[BrokenJSON]; ok {
		b = misquote(b)
	}
	if _, ok := faults[Truncate]; ok {
		b = b[:len(b)/2]
	}
	if _, ok := faults[Cut]; ok {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Write(b[:len(b)/2])
		http.NewResponseController(w).Flush()
		abort()
	}
	if f, ok := faults[Oversize]; ok {
		w.Write(b[:len(b)-1])
		blanks := []byte(strings.Repeat(" ", 64<<10))
		for left := f.Number; left > 0; left -= len(blanks) {
			if _, err := w.Write(blanks[:min(left, len(blanks))]); err != nil {
				return
			}
		}
		b = b[len(b)-1:]
	}
	w.Write(b)
}

// settledBefore is the setl_id of the settlement that was booked before the one
// which an answer is about, "" if there is none.
func (c *Center) settledBefore(answer object) string {
	output, _ := answer["output"].(object)
	info, _ := output["setlinfo"].(object)
	id, _ := info["setl_id"].(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	before := ""
	for _, t := range c.state.settlements {
		if t.SetlID == id {
			return before
		}
		before = t.SetlID
	}
	return ""
}

// local lets only callers on this machine in, and no web page: pages of other
// sites send an Origin or a foreign Host.
func (c *Center) local(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		ip := net.ParseIP(host)
		if err != nil || ip == nil || !ip.IsLoopback() || r.Header.Get("Origin") != "" || !loopbackName(r.Host) {
			writeJSON(w, http.StatusForbidden, object{"code": 403, "message": "仅限本机使用"})
			return
		}
		next(w, r)
	}
}

func loopbackName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

func (c *Center) listFaults(w http.ResponseWriter, _ *http.Request) {
	ordered := []string{}
	for _, f := range c.Ordered() {
		ordered = append(ordered, f.String())
	}
	hanging, _ := c.faults.hangs()
	writeJSON(w, http.StatusOK, object{"simulator": true, "ordered": ordered, "hanging": hanging})
}

// orderFaults takes {"clear":true,"order":["2207:drop-after"],"release":true},
// all optional, done in that order, and answers as listFaults.
func (c *Center) orderFaults(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Clear   bool     `json:"clear"`
		Order   []string `json:"order"`
		Release bool     `json:"release"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&order); err != nil {
		writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": "not {\"clear\":bool,\"order\":[text],\"release\":bool}"})
		return
	}
	faults := make([]Fault, 0, len(order.Order))
	for _, text := range order.Order {
		f, err := ParseFault(text)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": err.Error()})
			return
		}
		faults = append(faults, f)
	}
	if order.Clear {
		c.ClearFaults()
	}
	// They were checked by ParseFault.
	if err := c.Order(faults...); err != nil {
		writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": err.Error()})
		return
	}
	if order.Release {
		c.Release()
	}
	c.listFaults(w, r)
}

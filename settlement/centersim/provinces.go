package centersim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A centre may answer for some places of insurance only ([Config.Areas]) and
// know the centres of others ([Config.Routes]). Then a transaction about a
// person goes to the centre of the person's insurance, which decides and books
// it; the centre of the place of care checks who asks, hands the answer on, and
// asks the others for their rows when the institution reconciles. So a booking
// is in one ledger alone, and nothing has to be kept equal.

// Paths between centres. They are for the same machine only.
const (
	forwardPath = "/sim/forwarded"
	rowsPath    = "/sim/forwarded/rows"
)

const (
	forwardTimeout = 2 * time.Minute
	maxForwarded   = 32 << 20 // bytes of another centre's answer
)

func (c *Config) checkRoutes() error {
	for _, area := range c.Areas {
		if !prefixForm.MatchString(area) {
			return fmt.Errorf("%w: area %q has not 2, 4 or 6 digits", ErrConfig, area)
		}
	}
	if len(c.Routes) > 0 && len(c.Areas) == 0 {
		return fmt.Errorf("%w: a centre with routes needs areas of its own", ErrConfig)
	}
	for prefix, base := range c.Routes {
		if !prefixForm.MatchString(prefix) {
			return fmt.Errorf("%w: route %q has not 2, 4 or 6 digits", ErrConfig, prefix)
		}
		for _, area := range c.Areas {
			if strings.HasPrefix(prefix, area) || strings.HasPrefix(area, prefix) {
				return fmt.Errorf("%w: area %s is this centre's and has a route, %s", ErrConfig, area, prefix)
			}
		}
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" || !loopbackName(u.Host) || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("%w: the route of %s is not http://127.0.0.1:PORT", ErrConfig, prefix)
		}
	}
	return nil
}

// ours tells whether a place of insurance is this centre's.
func (c *Center) ours(area string) bool {
	for _, prefix := range c.config.Areas {
		if strings.HasPrefix(area, prefix) {
			return true
		}
	}
	return len(c.config.Areas) == 0
}

// insures tells whether a person has an insurance with this centre.
func (c *Center) insures(p *person) bool {
	for _, i := range p.Insurance {
		if c.ours(i.InsuplcAdmdvs) {
			return true
		}
	}
	return len(c.config.Areas) == 0
}

// atHome are transactions between institution and centre: they stay where they
// arrive.
var atHome = regexp.MustCompile(`^(90|91|32)`)

// destination is the other centre that a request is for, "" for this one. The
// place of insurance is the envelope's or, where it names none (1101), that of
// the card: its identification code begins with it.
func (c *Center) destination(r *request) (string, error) {
	if len(c.config.Areas) == 0 || atHome.MatchString(r.infno) {
		return "", nil
	}
	area := r.insuArea
	if area == "" {
		for _, records := range r.nodes {
			if code := records[0].text("card_sn"); len(code) == 32 && areaForm.MatchString(code[:6]) {
				area = code[:6]
			}
		}
	}
	if area == "" || c.ours(area) {
		return "", nil
	}
	if !r.forwarded {
		for n := 6; n >= 2; n -= 2 {
			if base := c.config.Routes[area[:n]]; base != "" {
				return base, nil
			}
		}
	}
	return "", refuse("参保地[%s]未接入本平台", area)
}

// forward hands a request to the centre of the place of insurance and returns
// its answer. Only a refusal says that nothing was booked; any other error
// leaves that open.
func (c *Center) forward(ctx context.Context, base string, envelope record) (object, error) {
	body, err := json.Marshal(envelope)
	if err != nil {
		return nil, refuse("交易输入无法识别")
	}
	answer, err := c.ask(ctx, http.MethodPost, base+forwardPath, body)
	if err != nil {
		return nil, fmt.Errorf("forwarded: %w", err)
	}
	a, err := parseObject(answer)
	if err != nil || a["infcode"] == nil {
		return nil, errors.New("forwarded: the answer is none")
	}
	return a, nil
}

// foreignRow is a row that another centre has booked for an institution here.
type foreignRow struct {
	settlement
	Hidden bool `json:"reversed"` // a reversal or reversed
}

// foreignRows asks every other centre for an institution's rows. Without all of
// them there is nothing to compare with.
func (c *Center) foreignRows(ctx context.Context, institution string) ([]foreignRow, error) {
	var all []foreignRow
	asked := map[string]bool{}
	for _, base := range c.config.Routes {
		if asked[base] {
			continue
		}
		asked[base] = true
		answer, err := c.ask(ctx, http.MethodGet, base+rowsPath+"?fixmedins_code="+url.QueryEscape(institution), nil)
		var rows struct {
			Rows *[]foreignRow `json:"rows"`
		}
		if err == nil {
			err = json.Unmarshal(answer, &rows)
		}
		if err != nil || rows.Rows == nil {
			c.config.Logf("rows of %s: %v", base, err)
			return nil, refuse("异地结算数据暂不可用，请稍后再试")
		}
		all = append(all, *rows.Rows...)
	}
	return all, nil
}

// ask sends one request to another centre. Whoever waits for the answer may
// leave: what was sent is done all the same.
func (c *Center) ask(ctx context.Context, method, to string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forwardTimeout)
	defer cancel()
	defer context.AfterFunc(c.running, cancel)()
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.peers.Do(r)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return nil, refuse("参保地平台无法连接，未受理")
		}
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxForwarded+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxForwarded:
		return nil, errors.New("the answer is too large")
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	return b, nil
}

// takeForwarded answers a request that another centre hands on: it has looked
// at signature, institution and sign-in.
func (c *Center) takeForwarded(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(loud, "insurance centre")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.config.MaxBody+4096))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": "报文不完整"})
		return
	}
	c.take(w, r, body, "", true)
}

// listRows answers another centre's question for the rows of an institution.
func (c *Center) listRows(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(loud, "insurance centre")
	institution := r.URL.Query().Get("fixmedins_code")
	rows := []foreignRow{}
	c.mu.Lock()
	for _, t := range c.state.settlements {
		if t.Institution == institution {
			rows = append(rows, foreignRow{*t, c.reversed(t)})
		}
	}
	seq := c.ledger.seq
	c.mu.Unlock()
	if err := c.ledger.sync(seq); err != nil {
		writeJSON(w, http.StatusServiceUnavailable, object{"code": 503, "message": "the ledger cannot be written"})
		return
	}
	writeJSON(w, http.StatusOK, object{"simulator": true, "rows": rows})
}

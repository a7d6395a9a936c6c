package terminal_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/settlement/region"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// renamed turns the names of the region `encrypted` into national ones and its
// path into the centre's, which knows no region.
func renamed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gateway/api/fsi" {
			body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err != nil {
				http.Error(w, "body", http.StatusBadRequest)
				return
			}
			for national, here := range map[string]string{"feedetail": "feedetails", "diseinfo": "diseinfos"} {
				// Each must be named as the region wants it.
				if bytes.Contains(body, []byte(`"`+national+`":`)) {
					http.Error(w, "national name", http.StatusBadRequest)
					return
				}
				body = bytes.ReplaceAll(body, []byte(`"`+here+`":`), []byte(`"`+national+`":`))
			}
			r.URL.Path, r.Body, r.ContentLength = "/fsi/api/rsfComIfsService/callService", io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		next.ServeHTTP(w, r)
	})
}

// Every shipped region settles: what it demands beyond the national tables is
// in what the service sends.
func TestEveryShippedRegionSettles(t *testing.T) {
	tokens := map[string]string{"desk1": "5d41402abc4b2a76"}
	signed := map[string]settlement.Credentials{
		"one-endpoint":   {ID: "desk1", Secret: settlement.Secret(tokens["desk1"])},
		"path-per-infno": {ID: "desk1", Secret: settlement.Secret(tokens["desk1"])},
	}
	for _, name := range region.Names() {
		t.Run(name, func(t *testing.T) {
			rules, err := region.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			o := deskbed.Options{Region: rules, Front: renamed}
			if secrets, ok := signed[name]; ok {
				rules.Complete(&secrets)
				if o.Style, err = settlement.NewStyle(rules.Style, secrets); err != nil {
					t.Fatal(err)
				}
				o.Center = centersim.Config{Style: rules.Style, Tokens: tokens}
			}
			b := deskbed.New(t, o)
			b.Ready()
			v := b.Tried()
			if v, err = b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
				t.Fatal(err)
			}
			if v.State != terminal.VisitSettled || v.Receipt == nil || len(b.Center.Settlements()) != 1 {
				t.Fatalf("after the settlement: %+v", v)
			}
		})
	}
}

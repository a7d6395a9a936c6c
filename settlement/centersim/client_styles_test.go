package centersim_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// TestStylesBetweenTheSides signs in and looks a person up in every style
// between the two independent implementations, and is refused with the wrong
// secrets.
func TestStylesBetweenTheSides(t *testing.T) {
	pair := func() (private, public string) {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%064x", key.D), fmt.Sprintf("04%064x%064x", key.X, key.Y)
	}
	ours, oursPublic := pair()
	theirs, theirsPublic := pair()
	credentials := settlement.Credentials{
		ID: "test", Secret: "TESTTOKEN", SM2Key: settlement.Secret(ours), UpstreamKey: theirsPublic, SM4Key: "0123456789abcdeffedcba9876543210",
		AppID: "1A2B3C4D5E6F7G8H9I0J", AppSecret: "TESTAPPSECRET",
	}
	keys := centersim.Keys{
		Caller: oursPublic, Center: theirs, SM4: string(credentials.SM4Key), AppID: credentials.AppID, AppSecret: string(credentials.AppSecret),
	}
	ctx := context.Background()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.FixedZone("CST", 8*60*60))
	clock := func() time.Time { return now }
	for _, style := range []string{
		"none", "x-tif", "csb", "hmac-sm3", "sm2-cainfo", "sm4-body", "mobile", "hmac-sm3+sm4-body", "hmac-sm3+sm2-cainfo+sm4-body", "csb+mobile", "sm2-cainfo+mobile",
	} {
		t.Run(style, func(t *testing.T) {
			center, err := centersim.New(centersim.Config{Style: style, Tokens: map[string]string{"test": "TESTTOKEN"}, Keys: keys, Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			defer center.Close()
			server := httptest.NewServer(center.Handler())
			defer server.Close()
			client := func(c settlement.Credentials, now func() time.Time) *settlement.Client {
				s, err := settlement.NewStyle(style, c)
				if err != nil {
					t.Fatal(err)
				}
				client, err := settlement.NewClient(settlement.Config{
					URL: server.URL + "/fsi/api/rsfComIfsService/callService", Style: s, Now: now,
					Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
					Operator:    settlement.Operator{Type: "1", No: "0001", Name: "收费员"},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				return client
			}
			in := settlement.SignIn{OpterNo: "0001", Mac: "02-00-00-00-00-01", IP: "127.0.0.1"}
			right := client(credentials, clock)
			signed, err := right.SignIn(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			query := settlement.PersonQuery{
				MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01",
				Certno: "410101199003074531", PsnName: "张三",
			}
			person, err := right.Person(ctx, settlement.Scope{SignNo: string(signed.SignNo)}, query)
			if err != nil || person.BaseInfo.Value.PsnName != "张三" {
				t.Errorf("%+v, %v", person.BaseInfo.Value, err)
			}
			var refused *settlement.RefusedError
			query.PsnName = "李四"
			if _, err := right.Person(ctx, settlement.Scope{SignNo: string(signed.SignNo)}, query); !errors.As(err, &refused) {
				t.Errorf("a refusal: %v", err)
			}
			if style == "none" {
				return
			}
			wrong := credentials
			wrong.Secret, wrong.SM4Key, wrong.AppSecret = "other", "00000000000000000000000000000000", "other"
			wrong.SM2Key = settlement.Secret(theirs)
			if _, err := client(wrong, clock).SignIn(ctx, in); !errors.Is(err, settlement.ErrCredentials) {
				t.Errorf("with other secrets: %v", err)
			}
			if style == "sm2-cainfo" || style == "sm4-body" {
				return // they carry no time
			}
			slow := func() time.Time { return now.Add(-31 * time.Minute) }
			if _, err := client(credentials, slow).SignIn(ctx, in); !errors.Is(err, settlement.ErrCredentials) {
				t.Errorf("31 minutes late: %v", err)
			}
		})
	}
	// Another's platform: its signature is wrong, the answer is not taken.
	center, err := centersim.New(centersim.Config{Style: "sm2-cainfo", Keys: keys, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer center.Close()
	server := httptest.NewServer(center.Handler())
	defer server.Close()
	credentials.UpstreamKey = oursPublic
	s, err := settlement.NewStyle("sm2-cainfo", credentials)
	if err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(settlement.Config{URL: server.URL + "/fsi/api/rsfComIfsService/callService", Style: s, Now: clock,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"}, Operator: settlement.Operator{Type: "1", No: "0001", Name: "收费员"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SignIn(ctx, settlement.SignIn{OpterNo: "0001", Mac: "02-00-00-00-00-01", IP: "127.0.0.1"}); !errors.Is(err, settlement.ErrMalformed) ||
		settlement.OutcomeOf(err) != settlement.Unknown {
		t.Errorf("an answer of another's platform: %v", err)
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestPeopleAgree holds the simulated cards against the simulated centre's
// register: the same three people, to the letter. Neither package knows the
// other.
func TestPeopleAgree(t *testing.T) {
	read := func(into any, path ...string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	type person struct {
		Name      string `json:"psn_name"`
		Certno    string `json:"certno"`
		CertType  string `json:"psn_cert_type"`
		Sex       string `json:"gend"`
		Ethnic    string `json:"naty"`
		BirthDate string `json:"brdy"`
		Card      struct {
			Number string `json:"number"`
			Code   string `json:"identification_code"`
			State  string `json:"state"`
		} `json:"card"`
		Insurance []struct {
			Insutype string `json:"insutype"`
			State    string `json:"psn_insu_stas"`
			Area     string `json:"insuplc_admdvs"`
			Balance  string `json:"balance"`
		} `json:"insurance"`
	}
	var register struct{ People []person }
	read(&register, "settlement", "centersim", "data", "people.json")
	byNumber := map[string]person{}
	for _, p := range register.People {
		byNumber[p.Certno] = p
	}
	images, err := filepath.Glob(filepath.Join("..", "..", "card", "cardsim", "images", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 3 || len(register.People) != 3 {
		t.Fatalf("%d images, %d people; three of each expected", len(images), len(register.People))
	}
	for _, file := range images {
		name := filepath.Base(file)
		var image struct {
			Code    string                     `json:"identification_code"`
			Files   map[string]json.RawMessage `json:"files"`
			Account *struct{ Balance string }  `json:"medical_account"`
		}
		read(&image, "card", "cardsim", "images", name)
		values := func(file string) map[string]string {
			m := map[string]string{}
			if err := json.Unmarshal(image.Files[file], &m); err != nil {
				t.Fatalf("%s: %s: %v", name, file, err)
			}
			return m
		}
		issuer, holder := values("SSSEEF05"), values("SSSEEF06")
		p, known := byNumber[holder["08"]]
		if !known {
			t.Errorf("%s: the centre does not know the holder's number", name)
			continue
		}
		delete(byNumber, holder["08"])
		for _, same := range []struct{ what, card, center string }{
			{"name", holder["09"], p.Name},
			{"sex", holder["0A"], p.Sex},
			{"ethnic group", holder["0B"], p.Ethnic},
			{"date of birth", holder["0D"], p.BirthDate},
			{"card number", issuer["07"], p.Card.Number},
			{"identification code", image.Code, p.Card.Code},
			{"kind of certificate", "01", p.CertType},
			{"state of the card", "normal", p.Card.State},
		} {
			if same.card != same.center {
				t.Errorf("%s: %s is %q on the card and %q at the centre", name, same.what, same.card, same.center)
			}
		}
		account := ""
		for _, i := range p.Insurance {
			if i.State == "1" && i.Area != image.Code[:6] {
				t.Errorf("%s: insured in %s, the card is of %s", name, i.Area, image.Code[:6])
			}
			if i.Insutype == "310" {
				account = i.Balance
			}
		}
		if image.Account != nil && account != image.Account.Balance {
			t.Errorf("%s: account of %s on the card, %s at the centre", name, image.Account.Balance, account)
		}
	}
	for number := range byNumber {
		t.Errorf("the centre has a person without a card: ends in %s", number[14:])
	}
}

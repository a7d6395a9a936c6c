package card

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// An Issuer is what SSSE/EF05 says about the card (card specification, section
// 3). What the card does not say, or says wrongly, is empty; Problems tells
// which.
type Issuer struct {
	IdentificationCode string          // tag 01: 32 hex digits, upper case
	Category           string          // tag 02
	Version            string          // tag 03 as on the card; "1.00" where it is empty
	Specification      profile.Version // what the first three characters of tag 03 decide
	Algorithm          keys.Algorithm  // from the FCI; DES where it does not say
	Institution        string          // tag 04: initialising institution, 24 digits
	Issued             Date            // tag 05
	Expires            Date            // tag 06
	Number             string          // tag 07: 9 characters
	Area               string          // first 6 digits of the identification code
	Problems           []error         // *RecordError
}

// MarshalJSON returns the members identification_code, version, algorithm
// ("DES", "SM4"), number, issued, expires (yyyy-MM-dd), area, category,
// institution. What is unset is left out.
func (i Issuer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		IdentificationCode string  `json:"identification_code,omitempty"`
		Version            string  `json:"version"`
		Algorithm          string  `json:"algorithm"`
		Number             string  `json:"number,omitempty"`
		Issued             Date    `json:"issued,omitzero"`
		Expires            Date    `json:"expires,omitzero"`
		Area               string  `json:"area,omitempty"`
		Category           string  `json:"category,omitempty"`
		Institution        string  `json:"institution,omitempty"`
		Problems           []error `json:"problems,omitempty"`
	}{i.IdentificationCode, i.Version, i.Algorithm.String(), i.Number, i.Issued, i.Expires, i.Area, i.Category, i.Institution, i.Problems})
}

// mfFID is the master file, on some 1.0 cards itself the application.
var mfFID = [2]byte{0x3F, 0x00}

// Open selects the social security application and reads SSSE/EF05: two
// commands on a card that keeps to the specification. Where SELECT by name
// finds nothing, the file identifier DDF1 and the master file (1.0 cards) are
// tried.
//
// Errors wrap [ErrNotSocialSecurityCard] (OC-1201), [ErrBlocked] (OC-1203), a
// keys error with OC-1202 for SSF33, [ErrVersion] (OC-1206), [ErrMalformed]
// where nothing of EF05 can be read, or the Conn's error. Single malformed
// records are no error; see Issuer.Problems.
func Open(ctx context.Context, conn Conn, opts ...Option) (*Card, error) {
	c := newCard(conn, opts)
	dir, ok := c.profile.Directory(rootDF)
	if !ok {
		return nil, fmt.Errorf("open: the profile has no directory %s", rootDF)
	}
	sel := selectByName(dir.AID)
	r, err := c.exchange(ctx, sel)
	if err != nil {
		return nil, fmt.Errorf("open: select %s: %w", rootDF, err)
	}
	if r.Status == apdu.StatusWrongLength {
		// Some card systems take SELECT only without Le.
		sel.Le = 0
		if r, err = c.exchange(ctx, sel); err != nil {
			return nil, fmt.Errorf("open: select %s: %w", rootDF, err)
		}
	}
	switch r.Status {
	case apdu.StatusOK:
		c.root = sel
		err = c.start(ctx, r.Data)
	case apdu.StatusAppBlocked, apdu.StatusCardBlocked, apdu.StatusInvalidated:
		err = fmt.Errorf("select %s: %w (%w)", rootDF, ErrBlocked, r.Status.Err())
	default:
		err = c.findRoot(ctx, dir, r.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return c, nil
}

// findRoot looks for the application where its name is not known: as DDF1, then
// as the master file. Other cards have a master file, too, and a file 05 in
// it, so there the identification code must be one.
func (c *Card) findRoot(ctx context.Context, dir profile.Directory, byName apdu.Status) error {
	notOurs := fmt.Errorf("select %s: %w (%w)", rootDF, ErrNotSocialSecurityCard, byName.Err())
	for _, fid := range [][2]byte{dir.FID, mfFID} {
		sel := selectByFID(fid)
		r, err := c.exchange(ctx, sel)
		if err != nil {
			return fmt.Errorf("select %X: %w", fid, err)
		}
		if !r.Status.OK() {
			continue
		}
		c.root = sel
		var answer *RefusedError
		switch err := c.start(ctx, r.Data); {
		case err == nil && c.issuer.Area != "":
			return nil
		case errors.Is(err, keys.ErrAlgorithm), errors.Is(err, ErrVersion) && c.issuer.Area != "":
			return err
		case err == nil, errors.As(err, &answer), errors.Is(err, ErrMalformed), errors.Is(err, ErrFileMissing), errors.Is(err, ErrVersion):
			// Something else is there.
		default:
			return err
		}
	}
	return notOurs
}

// start reads algorithm and issuer data once the application is selected.
func (c *Card) start(ctx context.Context, fci []byte) error {
	c.lost, c.df = false, rootDF
	algorithm := keys.DES // where the FCI does not say (card specification, section 1)
	if len(fci) > 0 {
		// A card may answer SELECT with something else than an FCI; then the
		// algorithm is the default.
		if info, err := apdu.ParseFCI(fci); err == nil && info.Algorithm != 0 {
			algorithm = keys.Algorithm(info.Algorithm)
		}
	}
	if err := algorithm.Check(); err != nil {
		return err
	}
	f, ok := c.profile.File(rootDF, "EF05")
	if !ok {
		return fmt.Errorf("the profile has no file %sEF05", rootDF)
	}
	raws, err := c.readLinear(ctx, f, 0)
	if err != nil && len(raws) == 0 {
		return err
	}
	file := decodeFile(c.profile, f, profile.V30, raws)
	i := Issuer{Algorithm: algorithm}
	var lost *RefusedError
	if errors.As(err, &lost) {
		i.Problems = append(i.Problems, &RecordError{File: file.ID, Number: len(raws) + 1, Problem: "the card refuses the rest of the file"})
	} else if err != nil {
		return err
	}
	known := false
	for _, r := range file.Records {
		if r.Malformed != nil {
			i.Problems = append(i.Problems, r.Malformed)
		}
		text := r.Value.String()
		switch r.Tag {
		case "01":
			i.IdentificationCode = text
		case "02":
			i.Category = text
		case "03":
			if r.Malformed == nil {
				i.Version = text
			}
		case "04":
			i.Institution = text
		case "05":
			i.Issued = r.Value.Date()
		case "06":
			i.Expires = r.Value.Date()
		case "07":
			i.Number = text
		default:
			continue
		}
		known = true
	}
	if !known {
		return fmt.Errorf("%s: %w", file.ID, ErrMalformed)
	}
	c.first = raws[0].bytes
	if area, ok := areaOf(i.IdentificationCode); ok {
		i.Area = area
	} else if i.IdentificationCode != "" {
		i.Problems = append(i.Problems, &RecordError{File: file.ID, Tag: "01", Number: 1, Problem: "not a card identification code"})
	}
	c.issuer = i
	return c.settleVersion()
}

// settleVersion decides the version by the first three characters of tag 03.
func (c *Card) settleVersion() error {
	v := c.issuer.Version
	switch {
	case v == "":
		c.issuer.Version, c.issuer.Specification = "1.00", profile.V10
	case strings.HasPrefix(v, "1.0"):
		c.issuer.Specification = profile.V10
	case strings.HasPrefix(v, "2.0"):
		c.issuer.Specification = profile.V20
	case strings.HasPrefix(v, "3.0"):
		c.issuer.Specification = profile.V30
	default:
		return ErrVersion
	}
	if (c.issuer.Specification == profile.V30) != (c.issuer.Algorithm == keys.SM4) {
		// Not refused: the algorithm is what the card computes with. A person
		// who looks for a fault should see it.
		c.issuer.Problems = append(c.issuer.Problems, &RecordError{File: FileID{rootDF, "EF05"}, Tag: "03", Number: 3,
			Problem: "version " + c.issuer.Specification.String() + " does not go with algorithm " + c.issuer.Algorithm.String()})
	}
	return nil
}

// areaOf returns the area of diversification of a card identification code:
// area 3, D156000005, serial and authentication code (card specification,
// section 3).
func areaOf(code string) (string, bool) {
	if len(code) != 32 || !allDigits(code[:6]) || code[6:16] != "D156000005" {
		return "", false
	}
	return code[:6], true
}

package settlement

import (
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	"onecard/fault"
)

// Extras are what travels in exp_content of requests: a JSON text with keys in
// upper case.
type Extras struct {
	TrumFlag      string // TRUM_FLAG: 1 an injury
	RelTtpFlag    string // REL_TTP_FLAG: 1 a third party is involved
	OtpErReflFlag string // OTP_ER_REFL_FLAG: 1 emergency, 2 referral, 3 both
	MdtrtGrpType  string // MDTRT_GRP_TYPE
	IptType       string // IPT_TYPE
	// More are a region's own.
	More map[string]string
}

// The keys that every region knows, with the values that are permitted.
var extraValues = map[string]string{"TRUM_FLAG": "01", "REL_TTP_FLAG": "01", "OTP_ER_REFL_FLAG": "123"}

var extraKey = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

// maxExpContent is exp_content's length in the tables, in characters.
const maxExpContent = 4000

var (
	errExtraField = fault.New(fault.FieldType, "exp_content")
	errExtraLong  = fault.New(fault.FieldTooLong, "exp_content")
)

// emergency says whether the care is one, with or without a referral.
func (e Extras) emergency() bool { return e.OtpErReflFlag == "1" || e.OtpErReflFlag == "3" }

func (e Extras) all() map[string]string {
	all := make(map[string]string, len(e.More)+5)
	for key, value := range e.More {
		all[key] = value
	}
	for key, value := range map[string]string{
		"TRUM_FLAG": e.TrumFlag, "REL_TTP_FLAG": e.RelTtpFlag, "OTP_ER_REFL_FLAG": e.OtpErReflFlag,
		"MDTRT_GRP_TYPE": e.MdtrtGrpType, "IPT_TYPE": e.IptType,
	} {
		if value != "" {
			all[key] = value
		}
	}
	for key, value := range all {
		if value == "" {
			delete(all, key)
		}
	}
	return all
}

// With adds values that are not said yet: a region's own.
func (e Extras) With(more map[string]string) Extras {
	said := e.all()
	all := make(map[string]string, len(e.More)+len(more))
	for key, value := range e.More {
		all[key] = value
	}
	for key, value := range more {
		if said[key] == "" {
			all[key] = value
		}
	}
	e.More = all
	return e
}

// Content is exp_content: "" where there is nothing to say. Keys in lower case,
// flags with values that no text knows and what is too long are refused;
// nothing was sent then.
func (e Extras) Content() (string, error) {
	all := e.all()
	if len(all) == 0 {
		return "", nil
	}
	for key, value := range all {
		want, known := extraValues[key]
		switch {
		case !extraKey.MatchString(key):
			return "", &unsentError{fmt.Errorf("exp_content: key %q is not in upper case: %w", printable(key), errExtraField)}
		case !utf8.ValidString(value) || known && !oneOf(value, want):
			return "", &unsentError{fmt.Errorf("exp_content: %s has a value that it cannot have: %w", key, errExtraField)}
		}
	}
	text, err := json.Marshal(all) // keys in their order, so that the same is sent again
	if err != nil {
		return "", &unsentError{fmt.Errorf("exp_content: %w", errExtraField)}
	}
	if utf8.RuneCount(text) > maxExpContent {
		return "", &unsentError{fmt.Errorf("exp_content: more than %d characters: %w", maxExpContent, errExtraLong)}
	}
	return string(text), nil
}

func oneOf(value, permitted string) bool {
	for _, r := range permitted {
		if value == string(r) {
			return true
		}
	}
	return false
}

// ReadExtras reads exp_content of an answer: nothing, or a JSON text. Keys are
// taken as they are.
func ReadExtras(content Text) (Extras, error) {
	if content == "" {
		return Extras{}, nil
	}
	var all map[string]Text
	if err := json.Unmarshal([]byte(content), &all); err != nil {
		return Extras{}, fmt.Errorf("exp_content: %v: %w", errJSON(err), ErrMalformed)
	}
	e := Extras{More: make(map[string]string)}
	for key, text := range all {
		value := string(text)
		switch key {
		case "TRUM_FLAG":
			e.TrumFlag = value
		case "REL_TTP_FLAG":
			e.RelTtpFlag = value
		case "OTP_ER_REFL_FLAG":
			e.OtpErReflFlag = value
		case "MDTRT_GRP_TYPE":
			e.MdtrtGrpType = value
		case "IPT_TYPE":
			e.IptType = value
		default:
			e.More[key] = value
		}
	}
	return e, nil
}

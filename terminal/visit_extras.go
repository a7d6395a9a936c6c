package terminal

import (
	"encoding/json"
	"fmt"
)

// extras keeps what a visit has outside the ordinary as exp_content: an object
// as text, its keys in upper case. An emergency counts as filed wherever it
// happens.
func (r *record) extras(req VisitRequest) error {
	values := map[string]string{}
	switch {
	case req.Emergency && req.Referral:
		values["OTP_ER_REFL_FLAG"] = "3"
	case req.Referral:
		values["OTP_ER_REFL_FLAG"] = "2"
	case req.Emergency:
		values["OTP_ER_REFL_FLAG"] = "1"
	}
	if req.Trauma {
		values["TRUM_FLAG"] = "1"
	}
	if req.ThirdParty {
		values["REL_TTP_FLAG"] = "1"
	}
	if len(values) == 0 {
		return nil
	}
	text, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("exp_content: %w", err)
	}
	r.Extras, r.Emergency = string(text), req.Emergency
	return nil
}

package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"onecard/settlement"
)

// A CallRequest is a transaction called on its own.
type CallRequest struct {
	// Input is what the tables say the transaction takes, nodes and all:
	// {"data":{"psn_no":"..."}}.
	Input json.RawMessage `json:"input"`
	// Area is insuplc_admdvs, the person's place of insurance, six digits: needed
	// where the input names a person.
	Area string `json:"insuplc_admdvs,omitempty"`
}

// A CallAnswer is the centre's answer, as it came; it may name people.
type CallAnswer struct {
	Infno   string          `json:"infno"`
	Name    string          `json:"name"` // the transaction's, Chinese
	RefMsg  string          `json:"inf_refmsgid"`
	Warning string          `json:"warn_msg,omitempty"`
	Output  json.RawMessage `json:"output"` // null where there is none
	// Deviations are where the answer differs from the tables: node, row, field
	// and problem. They are no failure.
	Deviations []string `json:"deviations,omitempty"`
}

// Call sends one transaction of the tables that neither books nor belongs to a
// visit: look-ups, downloads, filings and uploads. The input is validated
// before anything leaves. A sign_no that has lapsed is renewed once.
func (s *Service) Call(ctx context.Context, infno string, req CallRequest) (CallAnswer, error) {
	if err := s.canSettle(); err != nil {
		return CallAnswer{}, err
	}
	catalogue := s.parts.Upstream.Catalogue()
	if err := catalogue.CheckAlone(infno); err != nil {
		return CallAnswer{}, err
	}
	if len(req.Input) == 0 {
		return CallAnswer{}, detailed{errFieldMissing, "input"}
	}
	if req.Area != "" && !digits(req.Area, 6) {
		return CallAnswer{}, detailed{ErrBody, "insuplc_admdvs: six digits expected"}
	}
	// What is wrong with the input is said without asking anybody.
	if err := catalogue.Validate(infno, req.Input); err != nil {
		return CallAnswer{}, err
	}
	transaction, err := catalogue.Transaction(infno)
	if err != nil {
		return CallAnswer{}, err
	}
	signNo, fresh, err := s.signNo(ctx, false)
	if err != nil {
		s.upstreamFailed(err)
		return CallAnswer{}, fmt.Errorf("sign in: %w", err)
	}
	call := func() (settlement.Answer, error) {
		return s.parts.Upstream.Call(ctx, settlement.Request{Infno: infno, InsuplcAdmdvs: req.Area, SignNo: signNo, Input: req.Input})
	}
	answer, err := call()
	var refused *settlement.RefusedError
	if errors.As(err, &refused) && !fresh {
		if signNo, _, err = s.signNo(ctx, true); err == nil {
			answer, err = call()
		}
	}
	s.parts.Log.WithFields(map[string]any{"audit": "transaction " + transaction.Infno, "operator": s.cfg.Operator.No, "answered": err == nil}).Info("audit")
	if err != nil {
		s.upstreamFailed(err)
		return CallAnswer{}, harmless(err)
	}
	s.upstreamWell()
	out := CallAnswer{Infno: infno, Name: transaction.NameZH, RefMsg: answer.RefMsgID, Warning: answer.WarnMsg, Output: answer.Output}
	if len(out.Output) == 0 {
		out.Output = json.RawMessage("null")
	}
	deviations, err := s.parts.Upstream.Deviations(answer)
	if err != nil {
		return CallAnswer{}, harmless(err)
	}
	for _, d := range deviations {
		out.Deviations = append(out.Deviations, d.String())
	}
	return out, nil
}

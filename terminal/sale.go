package terminal

import (
	"context"
	"fmt"
	"strconv"

	"onecard/settlement"
)

// typeSale is med_type of a pharmacy's sale.
const typeSale = "41"

// sale is the course of a pharmacy's sale: 2101 and 2102, and back 2103. The
// centre knows nothing of it before it is settled.
type sale struct{}

func (sale) check(r *record) error {
	if r.MedType.Code == "" {
		return detailed{errFieldMissing, "med_type"}
	}
	return checkDiagnoses(r.Diagnoses)
}

func (sale) before(*record, settlement.Step) error { return nil }

func (sale) upload(*record) settlement.Step { return "" }

func (sale) send(_ context.Context, _ *Service, _ *visit, _ settlement.Scope, step settlement.Step) error {
	return fmt.Errorf("sale: step %s: %w", step, settlement.ErrStep)
}

// input is the whole of a sale, the same for 2101 and 2102.
func (sale) input(r *record) (settlement.SaleInput, error) {
	total, err := settlement.ParseYuan(r.Total)
	if err != nil {
		return settlement.SaleInput{}, err
	}
	in := settlement.SaleInput{DrugInfo: settlement.DrugInfo{
		PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
		PsnCertType: certID, Certno: r.Certno, PsnType: r.Person.Class.Code, PsnName: r.Name,
		Begntime: settlement.FormatTime(r.Opened), MedfeeSumamt: total, Insutype: r.Person.Insurance.Code,
		AcctUsedFlag: accountUsed, MedType: r.MedType.Code, ExpContent: r.Extras,
	}}
	if len(r.Diagnoses) > 0 {
		in.DrugInfo.DiseCodg, in.DrugInfo.DiseName = r.Diagnoses[0].Code, r.Diagnoses[0].Name
	}
	for i, l := range r.Lines {
		price, quantity, amount, err := l.numbers()
		if err != nil {
			return in, err
		}
		in.DrugDetail = append(in.DrugDetail, settlement.DrugDetail{
			FeedetlSN: settlement.SerialNo{Value: strconv.Itoa(i + 1)}, RxCircFlag: notExternal, FeeOcurTime: r.occurred(l),
			MedListCodg: l.Code, MedinsListCodg: l.Code, DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDrCodg: r.Doctor.Code, BilgDrName: r.Doctor.Name,
		})
	}
	return in, nil
}

func (c sale) trial(ctx context.Context, s *Service, one *visit, scope settlement.Scope) (settlement.Settlement, error) {
	r := one.record()
	in, err := c.input(&r)
	if err != nil {
		return settlement.Settlement{}, err
	}
	out, err := s.parts.Upstream.SaleTrial(ctx, scope, in)
	if err != nil {
		return settlement.Settlement{}, err
	}
	if len(out.Lines) > 0 {
		serials := make([]string, len(in.DrugDetail))
		for i, d := range in.DrugDetail {
			serials[i] = d.FeedetlSN.Value
		}
		s.visits.update(one, func(r *record) { err = r.splitLines(serials, out.Lines) })
	}
	return out.Settlement, err
}

func (c sale) settle(ctx context.Context, s *Service, by *settlement.Settler, r record, scope settlement.Scope) (settlement.Receipt, error) {
	in, err := c.input(&r)
	if err != nil {
		return settlement.Receipt{}, err
	}
	return by.Sell(ctx, settlement.Selling{
		Visit: r.ID, Holder: r.Holder.Name, Scope: scope, Input: in, Trial: r.Amounts, Agreed: r.Amounts,
	})
}

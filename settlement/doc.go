// Package settlement talks to the medical-insurance platform for a designated
// hospital or pharmacy and is the piece that is always right about the money:
// nothing is sent that the platform's own tables would refuse, nothing is sent
// twice, nothing that may be booked is ever forgotten.
//
// # A visit
//
//	journal, err := settlement.OpenJournal(path, time.Now)
//	ids, err := settlement.NewMsgIDs(institution.Code, journal, time.Now, 0, 0)
//	style, err := settlement.NewStyle("x-tif", settlement.Credentials{ID: paasid, Secret: token})
//	client, err := settlement.NewClient(settlement.Config{
//		URL: url, Style: style, Institution: institution, Operator: operator, MsgIDs: ids,
//	})
//	signed, err := client.SignIn(ctx, ...)     // 9001, once per operator and day
//	person, err := client.Person(ctx, ...)     // 1101: keep insuplc_admdvs
//	visit, err := client.Register(ctx, ...)    // 2201: mdtrt_id
//	err = client.UploadVisit(ctx, ...)         // 2203
//	lines, err := client.UploadFees(ctx, ...)  // 2204: the split of every line
//	split, err := settlement.SumSplit(lines)
//	trial, err := client.Trial(ctx, ...)       // 2206: what the payer sees
//	receipt, err := settlement.NewSettler(client, journal).Settle(ctx, ...) // 2207
//
// A stay is [Client.Admit], [Client.UploadStayFees] day by day,
// [Client.Discharge], [Client.StayTrial] and [Settler.SettleStay]; a sale
// [Client.SaleTrial] and [Settler.Sell]. [Settler.Refund] takes back the whole of
// any of them; for a part of it, the lines that stay are settled anew.
//
// # Life cycles
//
// [MachineOf] has the life cycle of each kind of care as one table: which step
// may follow which state, what is stored before its request leaves, where each
// outcome leads, and the way out of every state in which an answer may have
// been lost. Nothing else in onecard decides what may follow what.
//
// # Care elsewhere
//
// [Client.Cover] compares place of care and place of insurance before anything
// is registered, looks filings up and checks their days; [Client.ExpContent]
// writes exp_content. What differs by region is [CrossRules].
//
// # Before anything leaves
//
// Every request is checked against the embedded tables ([Catalogue]): a
// [ValidationError] names transaction, node, row, field and problem, never the
// value. Where the published tables contradict themselves, amendments.tsv
// decides; a region adds rows of its own ([NewCatalogue]). In a request,
// numbers are JSON numbers, an optional field without a value is left out, and
// dates and times are China's.
//
// # What a failure means
//
// [OutcomeOf] sorts every error into what is known of a transaction that
// books. The line tells "not one byte left this machine" (ErrUnreachable) from
// "bytes may have left" (ErrAnswerLost) by counting what was handed to the
// connection, and a failed connection is sealed, so that nothing can leave
// after the verdict. Requests are never repeated by the transport, redirects
// are not followed, and proxies of the environment are not used.
//
// # The journal
//
// [Settler] writes the intention to the [Journal] before it sends and the
// outcome before it returns. The outcomes are done, refused and unknown.
// Unknown is never sent again: the visit is closed to settling until the
// [Resolver] has found out what upstream has, a late answer has come
// ([Client.TakeLate]), or a person has decided the entry ([Journal.Decide]).
// An entry that a crash left intended is unknown at the next start.
//
// # Money
//
// Amounts are [Fen]; prices and quantities are integers of their own scale;
// [LineAmount] is exact. The identities of every answer are checked before
// anybody is told to pay: a [SumsError] goes to a person.
package settlement

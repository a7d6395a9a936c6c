// Package centersim is a simulated insurance centre: the other side of the
// settlement interface, so that a hospital can try everything before it has a
// line to the real one. Its people, catalogue and policy are synthetic.
//
//	center, err := centersim.New(centersim.Config{Ledger: "center.jsonl"})
//	...
//	defer center.Close()
//	http.ListenAndServe("127.0.0.1:8760", center.Handler())
//
// or, with a listener and a context, [Serve].
//
// # What it does
//
// It answers 9001 (sign in), 9002 (sign out), 1101 (person), 2201 (register), 2202 (undo it),
// 2203 (visit), 2204 (fee lines), 2205 (undo them), 2206 (trial), 2207
// (settle), 2208 (refund), 2101 to 2103 (pharmacy), 2301 to 2305 and
// 2401 to 2405 (stays), 2601 (reverse what got lost), 2001 (entitlement),
// 5201, 5203, 5204 (look up), 3201, 3202 (reconcile) and 9101, 9102 (files) at
// the one endpoint
// /fsi/api/rsfComIfsService/callService and at the path of each transaction.
// It is written independently of onecard's own client and shares no code with
// it, money and signatures included, so that a mistake on one side is seen by
// the other. It is strict where a centre is strict (envelope, required fields,
// lengths, dates, the order of calls, whose visit it is, price x quantity, the
// sums) and answers as loosely as real ones do (null, "", "null", numbers with
// or without a point).
//
// # What it never does
//
// It never forgets what it has booked: every booking is one line of an
// append-only ledger, on the disk before its answer leaves, and the state is
// rebuilt from the ledger at the next start (see ledger.go for the form).
//
// # What it can be told to do
//
// [Fault] lists the misfortunes that can be ordered, by [Config.Faults], by
// [Center.Order] or by POST /sim/faults from the same machine. What the centre
// does with a msgid it has already booked is [Config.Repeat].
//
// People, catalogue and policy are three JSON files, embedded, and replaceable
// one by one from a directory ([Config.Data]); docs/centersim.md explains them.
package centersim

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
// It answers what a hospital's and a pharmacy's day needs, at the one endpoint
// /fsi/api/rsfComIfsService/callService and at the path of each transaction:
// sign-in (9001, 9002), person and entitlement (1101, 2001), outpatients (2201
// to 2208, also as 2203A, 2206A, 2207A), pharmacies (2101 to 2103), stays (2301
// to 2305, 2401 to 2405), reversal (2601), filings (2501 to 2507), look-ups (5201
// to 5206, 5301 to 5304), reconciliation and claims (3201 to 3204), files (9101,
// 9102) and what is reported (settlement lists, stock, records of treatment).
// docs/centersim.md has the list.
//
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
// rebuilt from the ledger at the next start (see ledger.go for the form). The
// ledger is a file ([Config.Ledger]) or a table of PostgreSQL
// ([Config.Database]).
//
// # What it can be told to do
//
// [Fault] lists the misfortunes that can be ordered, by [Config.Faults], by
// [Center.Order] or by POST /sim/faults from the same machine. What the centre
// does with a msgid it has already booked is [Config.Repeat], what its look-ups
// tell [Config.Lookups], what it says to the reversal of something that is not
// there [Config.Reversal]: regions differ in all three.
//
// Several centres, each for the people insured in its own area, route to each
// other ([Config.Areas], [Config.Routes]).
//
// What is booked is shown to tests in other processes by GET /sim/settlements
// and /sim/ledger, and written by [Export].
//
// People, catalogue and policy are three JSON files, embedded, and replaceable
// one by one from a directory ([Config.Data]); docs/centersim.md explains them.
package centersim

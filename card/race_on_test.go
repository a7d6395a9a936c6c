//go:build race

package card_test

// everyCut is how many cut points are stepped over: the race detector makes each
// ten times as long, and the part "tears" of make test takes them all without it.
const everyCut = 6

//go:build !race

package card_test

// everyCut takes every cut point.
const everyCut = 1

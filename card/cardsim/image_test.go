package cardsim

import "testing"

func TestExamples(t *testing.T) {
	for _, v := range []string{"1.0", "2.0", "3.0"} {
		if _, err := Example(v); err != nil {
			t.Error(v, err)
		}
	}
}

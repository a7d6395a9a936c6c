package terminal

import (
	"regexp"

	"github.com/sirupsen/logrus"
)

// MaskHook is the last line of defence of the logs: whatever looks like an ID
// number, a card or account number or an identification code is replaced by
// stars, in messages and in every field. Code must not log such things in the
// first place.
type MaskHook struct{}

// Levels implements [logrus.Hook].
func (MaskHook) Levels() []logrus.Level { return logrus.AllLevels }

// personal matches 18- and 15-digit ID numbers, card numbers (a letter or digit
// and seven digits and a check character), account numbers of 16 digits and
// more, and long hexadecimal values.
var personal = regexp.MustCompile(`\b(?:\d{17}[\dXx]|[A-Z]\d{7}[\dX]|\d{15,}|[0-9A-Fa-f]{24,})\b`)

// stars is what replaces them.
const stars = "****"

// Fire implements [logrus.Hook].
func (MaskHook) Fire(e *logrus.Entry) error {
	e.Message = personal.ReplaceAllString(e.Message, stars)
	for key, value := range e.Data {
		switch v := value.(type) {
		case string:
			e.Data[key] = personal.ReplaceAllString(v, stars)
		case error:
			if text := v.Error(); personal.MatchString(text) {
				e.Data[key] = personal.ReplaceAllString(text, stars)
			}
		}
	}
	return nil
}

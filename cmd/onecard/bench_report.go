package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"onecard/terminal"
)

// A side is one of those that are compared. Once does the thing and returns how
// long each measured part of it took.
type side struct {
	name terminal.Text
	once func(ctx context.Context) ([]time.Duration, error)
}

// interleave runs every side in turns, each round beginning with another, and
// returns the samples by side and part. The first rounds only warm up.
func interleave(ctx context.Context, runs int, sides ...side) ([][]samples, error) {
	found := make([][]samples, len(sides))
	warm := min(runs, 5)
	for round := range warm + runs {
		for i := range sides {
			at := (round + i) % len(sides)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			parts, err := sides[at].once(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sides[at].name.English, err)
			}
			if round < warm {
				continue
			}
			if found[at] == nil {
				found[at] = make([]samples, len(parts))
			}
			for part, took := range parts {
				found[at][part] = append(found[at][part], float64(took)/float64(time.Millisecond))
			}
		}
	}
	return found, nil
}

// samples are figures of one kind.
type samples []float64

// quantile returns the smallest figure that a share q of all does not exceed.
func (s samples) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// A figure is what was found of one side.
type figure struct {
	Name   terminal.Text `json:"name"`
	Median float64       `json:"median"`
	P99    float64       `json:"p99,omitempty"`
	Runs   int           `json:"runs,omitempty"`
}

func summarise(name terminal.Text, s samples) figure {
	return figure{Name: name, Median: s.quantile(0.5), P99: s.quantile(0.99), Runs: len(s)}
}

// A comparison is one line of the report: onecard first, then what it is
// compared with.
type comparison struct {
	ID      string        `json:"id"`
	Title   terminal.Text `json:"title"`
	Unit    string        `json:"unit,omitempty"`
	Figures []figure      `json:"figures,omitempty"`
	// Ratio is the first median divided by the second.
	Ratio float64 `json:"ratio,omitempty"`
	// Aim is what the ratio, or where there is none the figure, must not exceed;
	// with AtLeast what it must not fall below.
	Aim     float64 `json:"aim,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
	Met     *bool   `json:"met,omitempty"`
	Skip    string  `json:"skip,omitempty"`
	Note    string  `json:"note,omitempty"`
}

// judge computes the ratio and holds the aim against it.
func (c *comparison) judge() {
	if c.Skip != "" || len(c.Figures) == 0 {
		return
	}
	value := c.Figures[0].Median
	if len(c.Figures) > 1 && c.Figures[1].Median > 0 {
		c.Ratio = value / c.Figures[1].Median
		value = c.Ratio
	}
	if c.Aim > 0 {
		met := value <= c.Aim
		if c.AtLeast {
			met = value >= c.Aim
		}
		c.Met = &met
	}
}

// verdict is the last line of a comparison.
func (c *comparison) verdict(a *app) string {
	var words []string
	if c.Ratio > 0 {
		words = append(words, fmt.Sprintf("%s %.2f", a.say("比值", "ratio"), c.Ratio))
	}
	if c.Met != nil {
		aim := c.aim(a) + ": "
		if *c.Met {
			aim += a.say("达到", "ok")
		} else {
			aim += a.say("未达到", "MISSED")
		}
		words = append(words, aim)
	}
	return strings.Join(words, ", ")
}

func (c *comparison) table(a *app) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", a.text(c.Title))
	if c.Skip != "" {
		fmt.Fprintf(&b, "  SKIP: %s\n", c.Skip)
		return b.String()
	}
	for _, f := range c.Figures {
		fmt.Fprintf(&b, "  %11s", amount(f.Median, c.Unit))
		switch {
		case f.Runs > 1 && f.P99 > 0:
			fmt.Fprintf(&b, "  p99 %11s  %5d %s", amount(f.P99, c.Unit), f.Runs, a.say("次", "runs"))
		case f.Runs > 1:
			fmt.Fprintf(&b, "  %15s  %5d %s", "", f.Runs, a.say("次", "runs"))
		}
		fmt.Fprintf(&b, "  %s\n", a.text(f.Name))
	}
	if verdict := c.verdict(a); verdict != "" {
		fmt.Fprintf(&b, "  %s\n", verdict)
	}
	if c.Note != "" {
		fmt.Fprintf(&b, "  %s\n", c.Note)
	}
	return b.String()
}

func amount(v float64, unit string) string {
	switch unit {
	case "ms":
		return fmt.Sprintf("%.3f ms", v)
	case "MB":
		return fmt.Sprintf("%.1f MB", v)
	}
	return strings.TrimSpace(fmt.Sprintf("%g %s", math.Round(v*10)/10, unit))
}

// A benchReport is everything that was found.
type benchReport struct {
	Version     string       `json:"version"`
	Machine     string       `json:"machine"`
	Quick       bool         `json:"quick,omitempty"`
	Comparisons []comparison `json:"comparisons"`
}

func (r *benchReport) head(a *app) string {
	head := fmt.Sprintf("onecard %s: %s", r.Version, r.Machine)
	if r.Quick {
		head += "\n" + a.say("仅少量运行：只看能否运行，数字无意义。", "A few runs only: the figures mean nothing.")
	}
	return head
}

// summary names what has an aim, once more and together.
func (r *benchReport) summary(a *app) string {
	lines := []string{a.say("目标", "The aims")}
	for _, c := range r.Comparisons {
		switch {
		case c.Skip != "":
			lines = append(lines, "  SKIP    "+a.text(c.Title)+": "+c.Skip)
		case c.Met == nil:
		case *c.Met:
			lines = append(lines, "  ok      "+a.text(c.Title)+": "+c.measured(a))
		default:
			lines = append(lines, "  MISSED  "+a.text(c.Title)+": "+c.measured(a))
		}
	}
	return strings.Join(lines, "\n")
}

// measured is the value that the aim is about.
func (c *comparison) measured(a *app) string {
	if c.Ratio > 0 {
		return fmt.Sprintf("%.2f (%s)", c.Ratio, c.aim(a))
	}
	return fmt.Sprintf("%s (%s)", amount(c.Figures[0].Median, c.Unit), c.aim(a))
}

func (c *comparison) aim(a *app) string {
	if c.AtLeast {
		return fmt.Sprintf("%s %g", a.say("目标 ≥", "aim >="), c.Aim)
	}
	return fmt.Sprintf("%s %g", a.say("目标 ≤", "aim <="), c.Aim)
}

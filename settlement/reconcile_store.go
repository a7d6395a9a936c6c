package settlement

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// reportOwner binds a sealed report to its row.
func reportOwner(period string, at int64) string { return fmt.Sprintf("%s %d", period, at) }

// putReport keeps a new report and gives it its number. Earlier ones of the
// period in which nothing was executed are forgotten; the others stay, because
// they say who did what.
func (j *Journal) putReport(ctx context.Context, r Report) (Report, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Report{}, fmt.Errorf("keep report: %w", err)
	}
	earlier, err := j.reports(ctx, `period = ?1`, r.Period)
	if err != nil {
		return Report{}, err
	}
	at := r.At.UnixMilli()
	sealed := j.key.seal("reconciliation", reportOwner(r.Period, at), body)
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		for _, old := range earlier {
			if old.executed() {
				continue
			}
			if err := b.exec(ctx, `DELETE FROM reconciliation WHERE id = ?1`, old.ID); err != nil {
				return err
			}
		}
		// Numbers are not used again: a page may still show the old report.
		result, err := b.tx.ExecContext(ctx, `INSERT INTO reconciliation (id, period, at, state, body)
			VALUES ((SELECT 1 + max(coalesce((SELECT max(id) FROM reconciliation), 0), coalesce((SELECT value FROM mark WHERE name = 'report'), 0))), ?1, ?2, ?3, ?4)`,
			r.Period, at, string(r.State), sealed)
		if err != nil {
			return unavailable(err)
		}
		if r.ID, err = result.LastInsertId(); err != nil {
			return unavailable(err)
		}
		return b.exec(ctx, `INSERT INTO mark (name, value) VALUES ('report', ?1)
			ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`, r.ID)
	})
	if err != nil {
		return Report{}, fmt.Errorf("keep report: %w", err)
	}
	return r, nil
}

// executed says whether a person had something done about a difference.
func (r Report) executed() bool {
	for _, d := range r.Differences {
		if d.Executed != nil {
			return true
		}
	}
	return false
}

// updateReport stores a report that is there already.
func (j *Journal) updateReport(ctx context.Context, r Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("update report: %w", err)
	}
	sealed := j.key.seal("reconciliation", reportOwner(r.Period, r.At.UnixMilli()), body)
	var n int64
	err = j.commit(ctx, func(ctx context.Context, b *batch) (err error) {
		n, err = b.affect(ctx, `UPDATE reconciliation SET state = ?2, body = ?3 WHERE id = ?1`, r.ID, string(r.State), sealed)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("update report: %w", err)
	case n == 0:
		return fmt.Errorf("update report: %w", ErrReport)
	}
	return nil
}

// LatestReport returns the latest report of a day or month, or ErrReport.
func (j *Journal) LatestReport(ctx context.Context, period string) (Report, error) {
	return j.oneReport(ctx, `period = ?1 ORDER BY id DESC LIMIT 1`, period)
}

// Report returns a report by its number, or ErrReport.
func (j *Journal) Report(ctx context.Context, id int64) (Report, error) {
	return j.oneReport(ctx, `id = ?1`, id)
}

func (j *Journal) oneReport(ctx context.Context, where string, arg any) (Report, error) {
	list, err := j.reports(ctx, where, arg)
	switch {
	case err != nil:
		return Report{}, err
	case len(list) == 0:
		return Report{}, fmt.Errorf("report: %w", ErrReport)
	}
	return list[0], nil
}

func (j *Journal) reports(ctx context.Context, where string, args ...any) ([]Report, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT id, period, at, state, body FROM reconciliation WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reports: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Report
	for rows.Next() {
		var r Report
		var at int64
		var sealed []byte
		if err := rows.Scan(&r.ID, &r.Period, &at, &r.State, &sealed); err != nil {
			return nil, fmt.Errorf("reports: %w", unavailable(err))
		}
		body, err := j.key.open("reconciliation", reportOwner(r.Period, at), sealed)
		if err != nil {
			return nil, fmt.Errorf("report %d: %w", r.ID, err)
		}
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, fmt.Errorf("report %d: %w", r.ID, ErrJournalForeign)
		}
		r.At = milli(at)
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reports: %w", unavailable(err))
	}
	return list, nil
}

// A ReportSummary is what a list of reports shows; it opens none of them.
type ReportSummary struct {
	ID     int64
	Period string
	At     time.Time
	State  ReportState
}

// LatestReports lists the latest report of every period from one period on, the
// latest period first. Months and days are in one order.
func (j *Journal) LatestReports(ctx context.Context, from string, limit int) ([]ReportSummary, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT id, period, at, state FROM reconciliation
		WHERE id IN (SELECT max(id) FROM reconciliation WHERE period >= ?1 GROUP BY period) ORDER BY period DESC LIMIT ?2`, from, limit)
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", unavailable(err))
	}
	defer rows.Close()
	var list []ReportSummary
	for rows.Next() {
		var s ReportSummary
		var at int64
		if err := rows.Scan(&s.ID, &s.Period, &at, &s.State); err != nil {
			return nil, fmt.Errorf("list reports: %w", unavailable(err))
		}
		s.At = milli(at)
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list reports: %w", unavailable(err))
	}
	return list, nil
}

// EarliestEntryDay returns the day of the journal's first entry, "" where there
// is none.
func (j *Journal) EarliestEntryDay(ctx context.Context) (day string, err error) {
	var first sql.Null[string]
	err = j.read.QueryRowContext(ctx, `SELECT min(day) FROM entry`).Scan(&first)
	if err != nil {
		return "", fmt.Errorf("earliest day: %w", unavailable(err))
	}
	return first.V, nil
}

// placements are where earlier reports found entries to belong, because the
// centre listed them there: what an execution wrote down or decided may have no
// answer that says so.
func (j *Journal) placements(ctx context.Context, from, to string) (map[int64]place, error) {
	list, err := j.reports(ctx, `period >= ?1 AND period <= ?2 AND length(period) = 10 ORDER BY id`, from, to)
	if err != nil {
		return nil, err
	}
	placed := make(map[int64]place)
	for _, r := range list {
		for _, d := range r.Differences {
			if x := d.Executed; x != nil && x.Entry != 0 && d.Kind == OnlyUpstream && x.Action != ActAsk {
				placed[x.Entry] = place{day: r.Period, group: group{d.Insutype, d.ClrType, d.Optins}}
			}
		}
	}
	return placed, nil
}

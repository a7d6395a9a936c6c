-- The ledger of one simulated centre. What stands in event is exactly what sum
-- was taken over, so it is text and no jsonb, which would order its keys anew.
CREATE TABLE IF NOT EXISTS center_ledger (
	seq   bigint PRIMARY KEY CHECK (seq > 0),
	prev  text NOT NULL CHECK (prev ~ '^[0-9a-f]{64}$'),
	sum   text NOT NULL UNIQUE CHECK (sum ~ '^[0-9a-f]{64}$'),
	event text NOT NULL
);

CREATE OR REPLACE FUNCTION center_ledger_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the ledger of a centre is only appended to';
END $$;

CREATE OR REPLACE TRIGGER center_ledger_appended
	BEFORE UPDATE OR DELETE OR TRUNCATE ON center_ledger
	FOR EACH STATEMENT EXECUTE FUNCTION center_ledger_is_appended_to();

-- The settlements, refunds and reversals, for who would rather ask in SQL.
CREATE OR REPLACE VIEW center_settlements AS
SELECT
	l.seq,
	s.row ->> 'setl_id' AS setl_id,
	coalesce(s.row ->> 'infno', '2207') AS infno,
	s.row ->> 'refunds' AS refunds,
	s.row ->> 'medins_setl_id' AS msgid,
	s.row ->> 'fixmedins_code' AS fixmedins_code,
	s.row ->> 'mdtrt_id' AS mdtrt_id,
	s.row ->> 'psn_no' AS psn_no,
	s.row ->> 'insutype' AS insutype,
	(s.row ->> 'setl_time')::timestamptz AS setl_time,
	(s.row ->> 'medfee_sumamt')::numeric(16, 2) AS medfee_sumamt,
	(s.row ->> 'hifp_pay')::numeric(16, 2) + (s.row ->> 'supplement_pay')::numeric(16, 2) AS fund_pay_sumamt,
	(s.row ->> 'psn_part_amt')::numeric(16, 2) AS psn_part_amt,
	(s.row ->> 'acct_pay')::numeric(16, 2) AS acct_pay,
	(s.row ->> 'psn_cash_pay')::numeric(16, 2) AS psn_cash_pay
FROM center_ledger AS l
CROSS JOIN LATERAL (SELECT l.event::jsonb AS e) AS j
CROSS JOIN LATERAL (SELECT coalesce(j.e -> 'settlement', j.e -> 'refund', j.e -> 'sale' -> 'settlement') AS row) AS s
WHERE s.row IS NOT NULL;

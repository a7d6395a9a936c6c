-- What no program may do to the journal's rows.

CREATE TRIGGER entry_born BEFORE INSERT ON entry WHEN NEW.outcome <> 'intended'
BEGIN SELECT RAISE(ABORT, 'an entry begins as intended'); END;

CREATE TRIGGER entry_stays BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry is never deleted'); END;

CREATE TRIGGER entry_forward BEFORE UPDATE OF outcome ON entry
WHEN OLD.outcome <> NEW.outcome AND NOT (OLD.outcome = 'intended' AND NEW.outcome IN ('done', 'refused', 'unknown')
       OR OLD.outcome = 'unknown' AND NEW.outcome IN ('done', 'refused', 'unknown'))
BEGIN SELECT RAISE(ABORT, 'an outcome never goes back'); END;

CREATE TRIGGER entry_final BEFORE UPDATE ON entry
WHEN OLD.outcome IN ('done', 'refused') AND (
     OLD.closed_at IS NOT NEW.closed_at OR OLD.total <> NEW.total OR OLD.fund <> NEW.fund
  OR OLD.account <> NEW.account OR OLD.cash <> NEW.cash OR OLD.setl_id <> NEW.setl_id
  OR OLD.answer IS NOT NEW.answer OR OLD.reversed_by IS NOT NULL AND OLD.reversed_by IS NOT NEW.reversed_by)
BEGIN SELECT RAISE(ABORT, 'a closed entry does not change'); END;

CREATE TRIGGER entry_sent BEFORE UPDATE ON entry
WHEN OLD.id <> NEW.id OR OLD.visit <> NEW.visit OR OLD.infno <> NEW.infno OR OLD.msgid <> NEW.msgid
  OR OLD.day <> NEW.day OR OLD.opened_at <> NEW.opened_at
  OR OLD.agreed_total <> NEW.agreed_total OR OLD.agreed_fund <> NEW.agreed_fund
  OR OLD.agreed_account <> NEW.agreed_account OR OLD.agreed_cash <> NEW.agreed_cash
  OR OLD.mdtrt_id <> NEW.mdtrt_id OR OLD.psn_no <> NEW.psn_no OR OLD.holder <> NEW.holder OR OLD.born <> NEW.born
  OR OLD.undoes IS NOT NEW.undoes
  OR OLD.request_sha256 <> NEW.request_sha256 OR OLD.request <> NEW.request
BEGIN SELECT RAISE(ABORT, 'what was sent does not change'); END;

CREATE TRIGGER chain_stays BEFORE DELETE ON chain
BEGIN SELECT RAISE(ABORT, 'a link is never deleted'); END;

CREATE TRIGGER chain_final BEFORE UPDATE ON chain
BEGIN SELECT RAISE(ABORT, 'a link does not change'); END;

CREATE TRIGGER decision_stays BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision is never deleted'); END;

CREATE TRIGGER decision_final BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision does not change'); END;

CREATE TRIGGER outbox_stays BEFORE DELETE ON outbox WHEN OLD.state NOT IN ('sent', 'dropped', 'void')
BEGIN SELECT RAISE(ABORT, 'what is still to be done is not deleted'); END;

CREATE TRIGGER outbox_final BEFORE UPDATE ON outbox
WHEN OLD.state IN ('sent', 'void') OR OLD.id <> NEW.id OR OLD.lane <> NEW.lane OR OLD.kind <> NEW.kind
  OR OLD.once <> NEW.once OR OLD.created_at <> NEW.created_at
BEGIN SELECT RAISE(ABORT, 'what was queued does not change, what is done is done'); END;

CREATE TRIGGER outbox_decision_stays BEFORE DELETE ON outbox_decision
BEGIN SELECT RAISE(ABORT, 'a decision is never deleted'); END;

CREATE TRIGGER outbox_decision_final BEFORE UPDATE ON outbox_decision
BEGIN SELECT RAISE(ABORT, 'a decision does not change'); END;

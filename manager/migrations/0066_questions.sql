-- A console proxy of an earlier build does not ask whether a screen is still its VM's, and would be sent nothing that wants it:
-- what the machine that was seen last can do decides about the configuration. 0: it can ask, or none was seen yet.
ALTER TABLE wanted ADD COLUMN cannot_ask BIGINT NOT NULL DEFAULT 0;

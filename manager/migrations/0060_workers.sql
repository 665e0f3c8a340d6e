-- Promised configurations are compiled outside the transactions that write: a worker leases an appliance for a while (Unix
-- seconds), and what it compiled counts only if nothing else was promised since.
ALTER TABLE wanted ADD COLUMN leased_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE wanted ADD COLUMN touched BIGINT NOT NULL DEFAULT 0;

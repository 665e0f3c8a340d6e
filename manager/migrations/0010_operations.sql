-- Which machine is the appliance: each boot document has a higher number than the one before, and the highest that was
-- seen is the appliance.
ALTER TABLE wanted ADD COLUMN incarnation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE wanted ADD COLUMN incarnation_seen BIGINT NOT NULL DEFAULT 0;
-- digests of the public keys of the last certificates issued to it, as a JSON list: one of these may still ask for a new
-- certificate when its own has run out
ALTER TABLE wanted ADD COLUMN certificate_keys TEXT;
-- digest of the authorities that it was told to trust last; absent: not known
ALTER TABLE wanted ADD COLUMN authorities TEXT;

-- A change that concerns many appliances promises each a number and leaves its compilation to afterwards: who wanted it and
-- why (dirty: not compiled yet). Numbers up to `covered` are in the configuration that is wanted, which did not change.
ALTER TABLE wanted ADD COLUMN promised BIGINT NOT NULL DEFAULT 0;
ALTER TABLE wanted ADD COLUMN covered BIGINT NOT NULL DEFAULT 0;
ALTER TABLE wanted ADD COLUMN dirty TEXT;
ALTER TABLE wanted ADD COLUMN dirty_actor TEXT;
CREATE INDEX wanted_dirty ON wanted (dirty);

-- which manager looked, and whether the certificate shown is of an authority that is being given up
ALTER TABLE observations ADD COLUMN seen_by TEXT;
ALTER TABLE observations ADD COLUMN old_authority BIGINT;

-- who may call over TCP; the token itself is not kept, only its digest
CREATE TABLE tokens (
    id      TEXT PRIMARY KEY,
    name    TEXT   NOT NULL UNIQUE,
    role    TEXT   NOT NULL,
    digest  TEXT   NOT NULL UNIQUE,
    created BIGINT NOT NULL,
    expires BIGINT
);

-- who changed what, from where
CREATE TABLE audit (
    number  BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    origin  TEXT   NOT NULL,
    what    TEXT   NOT NULL,
    effects TEXT   NOT NULL,
    request TEXT
);

-- Screens of VMs, and who may see them; see docs/kinds.md.

CREATE TABLE screens (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX screens_by_name ON screens (name);
CREATE INDEX screens_by_router ON screens (router);

CREATE TABLE console_grants (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    screen  TEXT   NOT NULL REFERENCES screens (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX console_grants_by_name ON console_grants (name);
CREATE INDEX console_grants_by_router ON console_grants (router);

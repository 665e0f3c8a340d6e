-- Screens of VMs, who may see them, and who did; see docs/kinds.md and docs/console.md.

CREATE TABLE screens (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX screens_by_name ON screens (name);

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
CREATE INDEX console_grants_by_screen ON console_grants (screen);

-- how busy a proxy was when it was last asked; seen is Unix milliseconds
CREATE TABLE console_loads (
    appliance        TEXT PRIMARY KEY REFERENCES appliances (id) ON DELETE CASCADE,
    sessions         BIGINT NOT NULL,
    most             BIGINT NOT NULL,
    screen_bytes     BIGINT NOT NULL,
    bytes_per_second BIGINT NOT NULL,
    seen             BIGINT NOT NULL
);

-- who was on which console: the rows outlive proxy, grant and screen. since and ended are Unix seconds; a proxy counts
-- its sessions anew each time it starts
CREATE TABLE console_sessions (
    appliance    TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    since        BIGINT NOT NULL,
    granted_by   TEXT   NOT NULL,
    vm           TEXT   NOT NULL,
    person       TEXT,
    address      TEXT   NOT NULL,
    view_only    BIGINT NOT NULL,
    to_browser   BIGINT NOT NULL,
    from_browser BIGINT NOT NULL,
    ended        BIGINT,
    reason       TEXT,
    PRIMARY KEY (appliance, number, since)
);
CREATE INDEX console_sessions_by_vm ON console_sessions (vm);
CREATE INDEX console_sessions_by_grant ON console_sessions (granted_by);
CREATE INDEX console_sessions_open ON console_sessions (appliance, ended);

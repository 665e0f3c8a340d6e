-- The network model of one cloud. Statements keep to what SQLite and PostgreSQL both understand.
-- Addresses, networks and MACs are text in their canonical form; lists are JSON text.

CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    last BIGINT NOT NULL
);

CREATE TABLE zones (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    resolvers       TEXT NOT NULL,
    guest_cidr      TEXT NOT NULL,
    control_cidr    TEXT NOT NULL,
    control_gateway TEXT,
    managers        TEXT NOT NULL
);

CREATE TABLE physical_networks (
    id   TEXT PRIMARY KEY,
    zone TEXT NOT NULL REFERENCES zones (id),
    name TEXT NOT NULL,
    mtu  BIGINT NOT NULL,
    UNIQUE (zone, name)
);

CREATE TABLE vlan_ranges (
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id) ON DELETE CASCADE,
    first            BIGINT NOT NULL,
    last             BIGINT NOT NULL,
    PRIMARY KEY (physical_network, first),
    CHECK (first >= 1 AND first <= last AND last <= 4094)
);

CREATE TABLE public_ranges (
    id               TEXT PRIMARY KEY,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id),
    name             TEXT   NOT NULL,
    vlan             BIGINT,
    cidr             TEXT   NOT NULL,
    gateway          TEXT   NOT NULL,
    first            TEXT   NOT NULL,
    last             TEXT   NOT NULL,
    UNIQUE (zone, name)
);

CREATE TABLE networks (
    id               TEXT PRIMARY KEY,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id),
    public_range     TEXT   NOT NULL REFERENCES public_ranges (id),
    name             TEXT   NOT NULL,
    domain           TEXT   NOT NULL,
    cidr             TEXT   NOT NULL,
    gateway          TEXT   NOT NULL,
    egress           TEXT   NOT NULL CHECK (egress IN ('allow', 'deny')),
    vlan             BIGINT NOT NULL,
    source_nat       TEXT   NOT NULL,
    lease_seconds    BIGINT NOT NULL,
    mtu              BIGINT,
    UNIQUE (zone, name)
);

CREATE TABLE guests (
    id   TEXT PRIMARY KEY,
    zone TEXT NOT NULL REFERENCES zones (id),
    name TEXT NOT NULL
);

-- a NIC of a guest in a network; a guest may get more than one
CREATE TABLE nics (
    id       TEXT PRIMARY KEY,
    guest    TEXT   NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    network  TEXT   NOT NULL REFERENCES networks (id),
    position BIGINT NOT NULL,
    hostname TEXT   NOT NULL,
    mac      TEXT   NOT NULL UNIQUE,
    address  TEXT   NOT NULL,
    UNIQUE (network, address),
    UNIQUE (network, hostname),
    UNIQUE (guest, position)
);

-- network is NULL once the network is deleted and the appliance waits to be destroyed
CREATE TABLE appliances (
    id                TEXT PRIMARY KEY,
    role              TEXT   NOT NULL CHECK (role IN ('router', 'proxy', 'ssvm')),
    zone              TEXT   NOT NULL REFERENCES zones (id),
    network           TEXT   REFERENCES networks (id),
    control_address   TEXT   NOT NULL,
    endpoint          TEXT,
    wanted_generation BIGINT NOT NULL,
    wanted_digest     TEXT   NOT NULL,
    wanted_config     TEXT   NOT NULL,
    sent_generation   BIGINT,
    certificate_until BIGINT
);
CREATE UNIQUE INDEX one_router_per_network ON appliances (network) WHERE network IS NOT NULL;

CREATE TABLE appliance_nics (
    appliance        TEXT   NOT NULL REFERENCES appliances (id) ON DELETE CASCADE,
    position         BIGINT NOT NULL,
    purpose          TEXT   NOT NULL CHECK (purpose IN ('control', 'public', 'trunk')),
    physical_network TEXT,
    mac              TEXT   NOT NULL UNIQUE,
    PRIMARY KEY (appliance, position)
);

-- what was last seen of an appliance, apart from what is wanted of it: two writers, two rows
CREATE TABLE observations (
    appliance           TEXT PRIMARY KEY REFERENCES appliances (id) ON DELETE CASCADE,
    reachable           BIGINT NOT NULL,
    reported_generation BIGINT,
    phase               TEXT,
    last_answer         TEXT,
    detail              TEXT,
    plan                TEXT,
    timing              TEXT,
    since               BIGINT NOT NULL
);

-- Only what is taken is stored. The primary key is the judge: an insert that succeeds is the allocation.
CREATE TABLE allocations (
    pool               TEXT   NOT NULL,
    value              BIGINT NOT NULL,
    owner              TEXT   NOT NULL,
    purpose            TEXT   NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('allocated', 'releasing')),
    appliance          TEXT,
    release_generation BIGINT,
    request            TEXT,
    since              BIGINT NOT NULL,
    PRIMARY KEY (pool, value)
);
CREATE INDEX allocations_by_owner ON allocations (owner);
CREATE INDEX allocations_by_appliance ON allocations (appliance, state);

CREATE TABLE requests (
    id     TEXT PRIMARY KEY,
    digest TEXT   NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT   NOT NULL,
    at     BIGINT NOT NULL
);

-- Balancing rules may be inside networks, without a public address. Neither SQLite nor PostgreSQL can take NOT NULL from a
-- column in one way that both understand, so both tables are made anew; members go first, since they refer to rules.

CREATE TABLE balancers_made_anew (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   REFERENCES public_ips (id),
    network   TEXT   REFERENCES networks (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name)
);
INSERT INTO balancers_made_anew (id, account, name, version, zone, router, public_ip, body)
    SELECT id, account, name, version, zone, router, public_ip, body FROM balancers;

CREATE TABLE balancer_members_made_anew (
    id       TEXT PRIMARY KEY,
    account  TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    zone     TEXT   NOT NULL REFERENCES zones (id),
    router   TEXT   NOT NULL REFERENCES appliances (id),
    balancer TEXT   NOT NULL REFERENCES balancers_made_anew (id),
    guest    TEXT   NOT NULL REFERENCES guests (id),
    network  TEXT   NOT NULL REFERENCES networks (id),
    body     TEXT   NOT NULL,
    UNIQUE (balancer, name)
);
INSERT INTO balancer_members_made_anew
    (id, account, name, version, zone, router, balancer, guest, network, body)
    SELECT id, account, name, version, zone, router, balancer, guest, network, body
    FROM balancer_members;

DROP TABLE balancer_members;
DROP TABLE balancers;
ALTER TABLE balancers_made_anew RENAME TO balancers;
ALTER TABLE balancer_members_made_anew RENAME TO balancer_members;

CREATE INDEX balancers_by_name ON balancers (name);
CREATE INDEX balancers_by_router ON balancers (router);
CREATE INDEX balancers_by_public_ip ON balancers (public_ip);
CREATE INDEX balancers_by_network ON balancers (network);
CREATE INDEX balancer_members_by_name ON balancer_members (name);
CREATE INDEX balancer_members_by_guest ON balancer_members (guest);

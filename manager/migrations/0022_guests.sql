-- Further NICs of guests, keys of their owners, and records of the name service.

CREATE TABLE guest_nics (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    guest   TEXT   NOT NULL REFERENCES guests (id),
    network TEXT   NOT NULL REFERENCES networks (id),
    body    TEXT   NOT NULL,
    UNIQUE (guest, network)
);
CREATE INDEX guest_nics_by_name ON guest_nics (name);
CREATE INDEX guest_nics_by_network ON guest_nics (network);

CREATE TABLE keypairs (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL UNIQUE,
    version BIGINT NOT NULL,
    body    TEXT   NOT NULL
);

CREATE TABLE dns_records (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    network TEXT   NOT NULL REFERENCES networks (id),
    body    TEXT   NOT NULL,
    UNIQUE (network, name)
);
CREATE INDEX dns_records_by_name ON dns_records (name);

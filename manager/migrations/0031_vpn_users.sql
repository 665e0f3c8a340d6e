-- Users may be of all remote accesses of a zone. Neither SQLite nor PostgreSQL can take NOT NULL from a column in one way that
-- both understand, so the table is made anew.

CREATE TABLE vpn_users_made_anew (
    id            TEXT PRIMARY KEY,
    account       TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    zone          TEXT   NOT NULL REFERENCES zones (id),
    router        TEXT   REFERENCES appliances (id),
    remote_access TEXT   REFERENCES remote_accesses (id),
    body          TEXT   NOT NULL,
    UNIQUE (remote_access, name)
);
INSERT INTO vpn_users_made_anew (id, account, name, version, zone, router, remote_access, body)
    SELECT id, account, name, version, zone, router, remote_access, body FROM vpn_users;
DROP TABLE vpn_users;
ALTER TABLE vpn_users_made_anew RENAME TO vpn_users;

CREATE INDEX vpn_users_by_name ON vpn_users (name);
CREATE INDEX vpn_users_by_router ON vpn_users (router);
CREATE INDEX vpn_users_by_zone ON vpn_users (zone);
CREATE UNIQUE INDEX vpn_users_of_a_zone ON vpn_users (zone, name) WHERE remote_access IS NULL;

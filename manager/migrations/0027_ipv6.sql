-- What may come in from the Internet to guests' own IPv6 addresses.

CREATE TABLE ipv6_firewall_rules (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    network TEXT   NOT NULL REFERENCES networks (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX ipv6_firewall_rules_by_name ON ipv6_firewall_rules (name);
CREATE INDEX ipv6_firewall_rules_by_router ON ipv6_firewall_rules (router);
CREATE INDEX ipv6_firewall_rules_by_network ON ipv6_firewall_rules (network);

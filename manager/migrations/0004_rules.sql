-- VPCs with their lists, rules on public addresses, balancers, tunnels, and images; see docs/kinds.md.

CREATE TABLE vpcs (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   REFERENCES appliances (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX vpcs_by_name ON vpcs (name);
CREATE INDEX vpcs_by_router ON vpcs (router);

CREATE TABLE acl_lists (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    vpc     TEXT   NOT NULL REFERENCES vpcs (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    body    TEXT   NOT NULL,
    UNIQUE (vpc, name)
);
CREATE INDEX acl_lists_by_name ON acl_lists (name);
CREATE INDEX acl_lists_by_router ON acl_lists (router);

CREATE TABLE acl_rules (
    id       TEXT PRIMARY KEY,
    account  TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    zone     TEXT   NOT NULL REFERENCES zones (id),
    router   TEXT   NOT NULL REFERENCES appliances (id),
    acl_list TEXT   NOT NULL REFERENCES acl_lists (id),
    body     TEXT   NOT NULL,
    UNIQUE (acl_list, name)
);
CREATE INDEX acl_rules_by_name ON acl_rules (name);

ALTER TABLE networks ADD COLUMN vpc TEXT REFERENCES vpcs (id);
ALTER TABLE networks ADD COLUMN acl TEXT REFERENCES acl_lists (id);
CREATE INDEX networks_by_vpc ON networks (vpc);
CREATE INDEX networks_by_acl ON networks (acl);
ALTER TABLE public_ips ADD COLUMN vpc TEXT REFERENCES vpcs (id);
CREATE INDEX public_ips_by_vpc ON public_ips (vpc);

CREATE TABLE private_gateways (
    id               TEXT PRIMARY KEY,
    account          TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    vpc              TEXT   NOT NULL REFERENCES vpcs (id),
    router           TEXT   NOT NULL REFERENCES appliances (id),
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id),
    vlan             BIGINT NOT NULL,
    address          TEXT   NOT NULL,
    acl              TEXT   REFERENCES acl_lists (id),
    body             TEXT   NOT NULL,
    UNIQUE (zone, name),
    UNIQUE (physical_network, vlan, address)
);
CREATE INDEX private_gateways_by_name ON private_gateways (name);
CREATE INDEX private_gateways_by_router ON private_gateways (router);

CREATE TABLE static_routes (
    id              TEXT PRIMARY KEY,
    account         TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    zone            TEXT   NOT NULL REFERENCES zones (id),
    vpc             TEXT   NOT NULL REFERENCES vpcs (id),
    router          TEXT   NOT NULL REFERENCES appliances (id),
    private_gateway TEXT   NOT NULL REFERENCES private_gateways (id),
    body            TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX static_routes_by_name ON static_routes (name);
CREATE INDEX static_routes_by_router ON static_routes (router);

CREATE TABLE firewall_rules (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   NOT NULL REFERENCES public_ips (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX firewall_rules_by_name ON firewall_rules (name);
CREATE INDEX firewall_rules_by_router ON firewall_rules (router);
CREATE INDEX firewall_rules_by_public_ip ON firewall_rules (public_ip);

CREATE TABLE egress_rules (
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
CREATE INDEX egress_rules_by_name ON egress_rules (name);
CREATE INDEX egress_rules_by_router ON egress_rules (router);
CREATE INDEX egress_rules_by_network ON egress_rules (network);

CREATE TABLE static_nats (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   NOT NULL UNIQUE REFERENCES public_ips (id),
    guest     TEXT   NOT NULL REFERENCES guests (id),
    network   TEXT   NOT NULL REFERENCES networks (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name),
    UNIQUE (guest, network)
);
CREATE INDEX static_nats_by_name ON static_nats (name);
CREATE INDEX static_nats_by_router ON static_nats (router);

CREATE TABLE port_forwards (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   NOT NULL REFERENCES public_ips (id),
    guest     TEXT   NOT NULL REFERENCES guests (id),
    network   TEXT   NOT NULL REFERENCES networks (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX port_forwards_by_name ON port_forwards (name);
CREATE INDEX port_forwards_by_router ON port_forwards (router);
CREATE INDEX port_forwards_by_public_ip ON port_forwards (public_ip);
CREATE INDEX port_forwards_by_guest ON port_forwards (guest);

CREATE TABLE balancers (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   NOT NULL REFERENCES public_ips (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX balancers_by_name ON balancers (name);
CREATE INDEX balancers_by_router ON balancers (router);
CREATE INDEX balancers_by_public_ip ON balancers (public_ip);

CREATE TABLE balancer_members (
    id       TEXT PRIMARY KEY,
    account  TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    zone     TEXT   NOT NULL REFERENCES zones (id),
    router   TEXT   NOT NULL REFERENCES appliances (id),
    balancer TEXT   NOT NULL REFERENCES balancers (id),
    guest    TEXT   NOT NULL REFERENCES guests (id),
    network  TEXT   NOT NULL REFERENCES networks (id),
    body     TEXT   NOT NULL,
    UNIQUE (balancer, name)
);
CREATE INDEX balancer_members_by_name ON balancer_members (name);
CREATE INDEX balancer_members_by_guest ON balancer_members (guest);

CREATE TABLE remote_accesses (
    id        TEXT PRIMARY KEY,
    account   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    zone      TEXT   NOT NULL REFERENCES zones (id),
    router    TEXT   NOT NULL REFERENCES appliances (id),
    public_ip TEXT   NOT NULL UNIQUE REFERENCES public_ips (id),
    body      TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX remote_accesses_by_name ON remote_accesses (name);
CREATE INDEX remote_accesses_by_router ON remote_accesses (router);

CREATE TABLE vpn_users (
    id            TEXT PRIMARY KEY,
    account       TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    zone          TEXT   NOT NULL REFERENCES zones (id),
    router        TEXT   NOT NULL REFERENCES appliances (id),
    remote_access TEXT   NOT NULL REFERENCES remote_accesses (id),
    body          TEXT   NOT NULL,
    UNIQUE (remote_access, name)
);
CREATE INDEX vpn_users_by_name ON vpn_users (name);

CREATE TABLE customer_gateways (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX customer_gateways_by_name ON customer_gateways (name);

CREATE TABLE vpn_connections (
    id               TEXT PRIMARY KEY,
    account          TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    router           TEXT   NOT NULL REFERENCES appliances (id),
    public_ip        TEXT   NOT NULL REFERENCES public_ips (id),
    customer_gateway TEXT   NOT NULL UNIQUE REFERENCES customer_gateways (id),
    body             TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX vpn_connections_by_name ON vpn_connections (name);
CREATE INDEX vpn_connections_by_router ON vpn_connections (router);
CREATE INDEX vpn_connections_by_public_ip ON vpn_connections (public_ip);

CREATE TABLE image_stores (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX image_stores_by_name ON image_stores (name);
CREATE INDEX image_stores_by_router ON image_stores (router);

CREATE TABLE images (
    id          TEXT PRIMARY KEY,
    account     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    zone        TEXT   NOT NULL REFERENCES zones (id),
    router      TEXT   NOT NULL REFERENCES appliances (id),
    image_store TEXT   NOT NULL REFERENCES image_stores (id),
    body        TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX images_by_name ON images (name);
CREATE INDEX images_by_router ON images (router);

CREATE TABLE image_grants (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    router  TEXT   NOT NULL REFERENCES appliances (id),
    image   TEXT   NOT NULL REFERENCES images (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX image_grants_by_name ON image_grants (name);
CREATE INDEX image_grants_by_router ON image_grants (router);

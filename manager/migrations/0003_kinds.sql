-- One form for every kind of object: id, account, name, version (counts the changes), the columns that the database has
-- to judge or to search, and the object itself as JSON text. What stands here was kept in columns before; it is copied,
-- so a store of the first shape goes on with its appliances as they are.

CREATE TABLE was_zones AS SELECT * FROM zones;
CREATE TABLE was_physical_networks AS SELECT * FROM physical_networks;
CREATE TABLE was_vlan_ranges AS SELECT * FROM vlan_ranges;
CREATE TABLE was_public_ranges AS SELECT * FROM public_ranges;
CREATE TABLE was_networks AS SELECT * FROM networks;
CREATE TABLE was_guests AS SELECT * FROM guests;
CREATE TABLE was_nics AS SELECT * FROM nics;
CREATE TABLE was_appliances AS SELECT * FROM appliances;
CREATE TABLE was_appliance_nics AS SELECT * FROM appliance_nics;
CREATE TABLE was_observations AS SELECT * FROM observations;

DROP TABLE observations;
DROP TABLE appliance_nics;
DROP TABLE appliances;
DROP TABLE nics;
DROP TABLE guests;
DROP TABLE networks;
DROP TABLE public_ranges;
DROP TABLE vlan_ranges;
DROP TABLE physical_networks;
DROP TABLE zones;

CREATE TABLE zones (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL UNIQUE,
    version BIGINT NOT NULL,
    body    TEXT   NOT NULL
);
INSERT INTO zones (id, account, name, version, body)
SELECT id, 'default', name, 1,
    '{"id":"' || id || '","name":"' || name || '","resolvers":' || resolvers
    || ',"guest_cidr":"' || guest_cidr || '","control_cidr":"' || control_cidr
    || '","control_gateway":' || COALESCE('"' || control_gateway || '"', 'null')
    || ',"managers":' || managers || '}'
FROM was_zones;

CREATE TABLE physical_networks (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    body    TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX physical_networks_by_name ON physical_networks (name);
INSERT INTO physical_networks (id, account, name, version, zone, body)
SELECT p.id, 'default', p.name, 1, p.zone,
    '{"id":"' || p.id || '","zone":"' || p.zone || '","name":"' || p.name || '","vlans":['
    || COALESCE((SELECT string_agg('"' || v.first || '-' || v.last || '"', ',' ORDER BY v.first)
                 FROM was_vlan_ranges v WHERE v.physical_network = p.id), '')
    || '],"mtu":' || p.mtu || '}'
FROM was_physical_networks p;

CREATE TABLE public_ranges (
    id               TEXT PRIMARY KEY,
    account          TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id),
    body             TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX public_ranges_by_name ON public_ranges (name);
CREATE INDEX public_ranges_by_physical_network ON public_ranges (physical_network);
INSERT INTO public_ranges (id, account, name, version, zone, physical_network, body)
SELECT id, 'default', name, 1, zone, physical_network,
    '{"id":"' || id || '","zone":"' || zone || '","physical_network":"' || physical_network
    || '","name":"' || name || '","vlan":' || COALESCE(CAST(vlan AS TEXT), 'null')
    || ',"cidr":"' || cidr || '","gateway":"' || gateway || '","start":"' || first
    || '","end":"' || last || '"}'
FROM was_public_ranges;

-- system VMs of every role; which configuration each should have is in `wanted`
CREATE TABLE appliances (
    id              TEXT PRIMARY KEY,
    account         TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    zone            TEXT   NOT NULL REFERENCES zones (id),
    role            TEXT   NOT NULL CHECK (role IN ('router', 'proxy', 'ssvm')),
    storage_network TEXT   REFERENCES physical_networks (id),
    body            TEXT   NOT NULL,
    UNIQUE (zone, name)
);
CREATE INDEX appliances_by_name ON appliances (name);
INSERT INTO appliances (id, account, name, version, zone, role, body)
SELECT a.id, 'default', a.id, 1, a.zone, a.role,
    '{"id":"' || a.id || '","name":"' || a.id || '","role":"' || a.role || '","zone":"' || a.zone
    || '","control":"' || a.control_address
    || '","endpoint":' || COALESCE('"' || a.endpoint || '"', 'null')
    || ',"with_network":true,"nics":['
    || COALESCE((SELECT string_agg('{"purpose":"' || n.purpose || '","physical_network":'
           || COALESCE('"' || n.physical_network || '"', 'null') || ',"link":"'
           || CASE n.purpose WHEN 'control' THEN 'ctl' WHEN 'public' THEN 'pub0'
                  ELSE 'trunk' || (SELECT count(*) FROM was_appliance_nics o
                                   WHERE o.appliance = n.appliance AND o.purpose = 'trunk'
                                       AND o.position < n.position) END
           || '","mac":"' || n.mac || '"}', ',' ORDER BY n.position)
       FROM was_appliance_nics n WHERE n.appliance = a.id), '')
    || '],"uplinks":['
    || COALESCE((SELECT '{"link":"pub0","physical_network":"' || r.physical_network || '","vlan":'
           || COALESCE(CAST(r.vlan AS TEXT), 'null') || '}'
       FROM was_networks w JOIN was_public_ranges r ON r.id = w.public_range
       WHERE w.id = a.network), '')
    || ']}'
FROM was_appliances a;

CREATE TABLE networks (
    id               TEXT PRIMARY KEY,
    account          TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    zone             TEXT   NOT NULL REFERENCES zones (id),
    physical_network TEXT   NOT NULL REFERENCES physical_networks (id),
    vlan             BIGINT NOT NULL,
    router           TEXT   REFERENCES appliances (id),
    link             TEXT,
    body             TEXT   NOT NULL,
    UNIQUE (zone, name),
    UNIQUE (physical_network, vlan),
    UNIQUE (router, link)
);
CREATE INDEX networks_by_name ON networks (name);
INSERT INTO networks (id, account, name, version, zone, physical_network, vlan, router, link, body)
SELECT n.id, 'default', n.name, 1, n.zone, n.physical_network, n.vlan,
    (SELECT a.id FROM was_appliances a WHERE a.network = n.id), 'guest0',
    '{"id":"' || n.id || '","zone":"' || n.zone || '","physical_network":"' || n.physical_network
    || '","public_range":"' || n.public_range || '","name":"' || n.name || '","domain":"'
    || n.domain || '","cidr":"' || n.cidr || '","gateway":"' || n.gateway || '","egress":"'
    || n.egress || '","vlan":' || n.vlan || ',"source_nat":"' || n.source_nat
    || '","lease_seconds":' || n.lease_seconds || ',"mtu":' || COALESCE(CAST(n.mtu AS TEXT), 'null')
    || ',"router":' || COALESCE('"' || (SELECT a.id FROM was_appliances a WHERE a.network = n.id)
                                || '"', 'null') || ',"link":"guest0"}'
FROM was_networks n;

CREATE TABLE public_ips (
    id           TEXT PRIMARY KEY,
    account      TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    zone         TEXT   NOT NULL REFERENCES zones (id),
    public_range TEXT   NOT NULL REFERENCES public_ranges (id),
    address      TEXT   NOT NULL,
    network      TEXT   REFERENCES networks (id),
    router       TEXT   REFERENCES appliances (id),
    body         TEXT   NOT NULL,
    UNIQUE (zone, name),
    UNIQUE (zone, address)
);
CREATE INDEX public_ips_by_name ON public_ips (name);
CREATE INDEX public_ips_by_range ON public_ips (public_range);
CREATE INDEX public_ips_by_network ON public_ips (network);
CREATE INDEX public_ips_by_router ON public_ips (router);
INSERT INTO public_ips (id, account, name, version, zone, public_range, address, network, router, body)
SELECT 'ip-' || substr(n.id, 3), 'default', 'ip-' || substr(n.id, 3), 1, n.zone, n.public_range,
    n.source_nat, n.id, (SELECT a.id FROM was_appliances a WHERE a.network = n.id),
    '{"id":"ip-' || substr(n.id, 3) || '","name":"ip-' || substr(n.id, 3)
    || '","zone":"' || n.zone || '","public_range":"' || n.public_range
    || '","address":"' || n.source_nat || '","network":"' || n.id
    || '","router":' || COALESCE('"' || (SELECT a.id FROM was_appliances a WHERE a.network = n.id)
                                 || '"', 'null') || ',"purpose":"source-nat"}'
FROM was_networks n;
INSERT INTO sequences (name, last) SELECT 'ip', last FROM sequences WHERE name = 'n';

CREATE TABLE guests (
    id      TEXT PRIMARY KEY,
    account TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    zone    TEXT   NOT NULL REFERENCES zones (id),
    body    TEXT   NOT NULL
);
CREATE INDEX guests_by_name ON guests (name);
CREATE INDEX guests_by_zone ON guests (zone);
INSERT INTO guests (id, account, name, version, zone, body)
SELECT g.id, 'default', g.name, 1, g.zone,
    '{"id":"' || g.id || '","zone":"' || g.zone || '","name":"' || g.name || '","nics":['
    || COALESCE((SELECT string_agg('{"id":"' || n.id || '","network":"' || n.network || '","mac":"'
                                   || n.mac || '","address":"' || n.address || '"}', ',')
                 FROM was_nics n WHERE n.guest = g.id), '')
    || ']}'
FROM was_guests g;

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
INSERT INTO nics (id, guest, network, position, hostname, mac, address)
SELECT id, guest, network, position, hostname, mac, address FROM was_nics;

-- every configuration that was ever wanted; ids are never used twice, so this outlives its appliance
CREATE TABLE configurations (
    appliance  TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    -- what became of it on the appliance: a word, for whom it may concern, and when
    outcome    TEXT,
    detail     TEXT,
    findings   TEXT,
    settled    BIGINT,
    PRIMARY KEY (appliance, generation)
);
INSERT INTO configurations (appliance, generation, digest, document, at, actor, reason)
SELECT id, wanted_generation, wanted_digest, wanted_config, 0, 'default', 'before history was kept'
FROM was_appliances;

-- configurations that an appliance had and this store never gave, from the moment that somebody decided about them
CREATE TABLE found_configurations (
    appliance  TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (appliance, generation, digest)
);

-- which of them is wanted, apart from the object itself: other writers, other rows
CREATE TABLE wanted (
    appliance         TEXT PRIMARY KEY REFERENCES appliances (id) ON DELETE CASCADE,
    generation        BIGINT NOT NULL,
    digest            TEXT   NOT NULL,
    sent_generation   BIGINT,
    certificate_until BIGINT,
    seal_key          TEXT,
    -- the content is an older one or a found one, kept until a change of the model says otherwise
    pinned            TEXT
);
INSERT INTO wanted (appliance, generation, digest, sent_generation, certificate_until)
SELECT id, wanted_generation, wanted_digest, sent_generation, certificate_until FROM was_appliances;

CREATE TABLE observations (
    appliance           TEXT PRIMARY KEY REFERENCES appliances (id) ON DELETE CASCADE,
    reachable           BIGINT NOT NULL,
    reported_generation BIGINT,
    phase               TEXT,
    last_answer         TEXT,
    detail              TEXT,
    plan                TEXT,
    timing              TEXT,
    since               BIGINT NOT NULL,
    shown_until         BIGINT,
    alarms              TEXT,
    looked              BIGINT NOT NULL DEFAULT 0
);
INSERT INTO observations (appliance, reachable, reported_generation, phase, last_answer, detail,
    plan, timing, since, shown_until, alarms)
SELECT appliance, reachable, reported_generation, phase, last_answer, detail, plan, timing, since,
    shown_until, alarms FROM was_observations;

-- large and secret things by the digest of their bytes (base64); configurations name them, the push sends them
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    bytes  TEXT   NOT NULL,
    since  BIGINT NOT NULL
);

-- what this store knows of itself
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- pools: no public address twice in a zone, no control address twice in a cloud, whatever range or zone it is from
UPDATE allocations SET pool = 'public:' || (SELECT r.zone FROM was_public_ranges r
    WHERE 'public:' || r.id = allocations.pool) WHERE pool LIKE 'public:%';
UPDATE allocations SET owner = 'ip-' || substr(owner, 3) WHERE pool LIKE 'public:%' AND owner LIKE 'n-%';
UPDATE allocations SET pool = 'control' WHERE pool LIKE 'control:%' AND NOT EXISTS
    (SELECT 1 FROM allocations o WHERE o.pool LIKE 'control:%' AND o.value = allocations.value
         AND o.pool < allocations.pool);

DROP TABLE was_zones;
DROP TABLE was_physical_networks;
DROP TABLE was_vlan_ranges;
DROP TABLE was_public_ranges;
DROP TABLE was_networks;
DROP TABLE was_guests;
DROP TABLE was_nics;
DROP TABLE was_appliances;
DROP TABLE was_appliance_nics;
DROP TABLE was_observations;

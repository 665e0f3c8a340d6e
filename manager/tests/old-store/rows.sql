-- What a manager of the first shape kept of one network with two guests, in force on its router; CONFIG stands for the
-- configuration that it compiled, and CONFIG_DIGEST for the digest of that.
INSERT INTO sequences (name, last) VALUES ('z', 1), ('pn', 1), ('pr', 1), ('n', 1), ('r', 1), ('g', 30), ('nic', 30);
INSERT INTO zones (id, name, resolvers, guest_cidr, control_cidr, control_gateway, managers)
VALUES ('z-1', 'zone1', '["192.0.2.53","192.0.2.54"]', '10.1.1.0/24', '169.254.0.0/20', NULL, '[]');
INSERT INTO physical_networks (id, zone, name, mtu) VALUES ('pn-1', 'z-1', 'physnet1', 1500);
INSERT INTO vlan_ranges (physical_network, first, last) VALUES ('pn-1', 100, 149), ('pn-1', 160, 199);
INSERT INTO public_ranges (id, zone, physical_network, name, vlan, cidr, gateway, first, last)
VALUES ('pr-1', 'z-1', 'pn-1', 'public1', NULL, '198.51.100.0/24', '198.51.100.1', '198.51.100.10', '198.51.100.99');
INSERT INTO networks (id, zone, physical_network, public_range, name, domain, cidr, gateway, egress, vlan, source_nat, lease_seconds, mtu)
VALUES ('n-1', 'z-1', 'pn-1', 'pr-1', 'net1', 'net.example', '10.1.1.0/24', '10.1.1.1', 'allow', 100, '198.51.100.11', 86400, NULL);
INSERT INTO guests (id, zone, name) VALUES ('g-20', 'z-1', 'vm20'), ('g-30', 'z-1', 'vm30');
INSERT INTO nics (id, guest, network, position, hostname, mac, address) VALUES
    ('nic-20', 'g-20', 'n-1', 0, 'vm20', '02:00:00:00:01:14', '10.1.1.20'),
    ('nic-30', 'g-30', 'n-1', 0, 'vm30', '02:00:00:00:01:1e', '10.1.1.30');
INSERT INTO appliances (id, role, zone, network, control_address, endpoint, wanted_generation, wanted_digest, wanted_config, sent_generation, certificate_until)
VALUES ('r-1', 'router', 'z-1', 'n-1', '169.254.0.10/20', '127.0.0.1:43922', 1, 'CONFIG_DIGEST', 'CONFIG', 1, 1800000000);
INSERT INTO appliance_nics (appliance, position, purpose, physical_network, mac) VALUES
    ('r-1', 0, 'control', NULL, '02:00:00:00:00:01'),
    ('r-1', 1, 'public', 'pn-1', '02:00:00:00:00:02'),
    ('r-1', 2, 'trunk', 'pn-1', '02:00:00:00:00:03');
INSERT INTO observations (appliance, reachable, reported_generation, phase, last_answer, since)
VALUES ('r-1', 1, 1, 'in-force', 'applied', 1790000000);
INSERT INTO allocations (pool, value, owner, purpose, state, appliance, since) VALUES
    ('control:z-1', 2851995658, 'r-1', 'control address', 'allocated', 'r-1', 1790000000),
    ('public:pr-1', 3325256715, 'n-1', 'source NAT', 'allocated', 'r-1', 1790000000),
    ('vlan:pn-1', 100, 'n-1', 'VLAN', 'allocated', 'r-1', 1790000000),
    ('guest:n-1', 167837972, 'nic-20', 'guest address', 'allocated', 'r-1', 1790000000),
    ('guest:n-1', 167837982, 'nic-30', 'guest address', 'allocated', 'r-1', 1790000000);

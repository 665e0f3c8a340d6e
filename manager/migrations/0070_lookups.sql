-- What a change asks of the others, the database answers by an index: columns that follow from the object (`Kind::DERIVED`; a
-- manager that starts fills them in for what was there before), and who has a pair of keys.

ALTER TABLE port_forwards ADD COLUMN protocol TEXT;
ALTER TABLE port_forwards ADD COLUMN first_port BIGINT;
CREATE UNIQUE INDEX port_forwards_by_port ON port_forwards (public_ip, protocol, first_port);
CREATE INDEX port_forwards_by_address_and_network ON port_forwards (public_ip, network);
ALTER TABLE acl_rules ADD COLUMN number BIGINT;
CREATE UNIQUE INDEX acl_rules_by_number ON acl_rules (acl_list, number);
ALTER TABLE networks ADD COLUMN ipv6_cidr TEXT;
CREATE UNIQUE INDEX networks_by_ipv6 ON networks (zone, ipv6_cidr);

CREATE TABLE guest_keypairs (
    keypair TEXT NOT NULL REFERENCES keypairs (id) ON DELETE CASCADE,
    guest   TEXT NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    PRIMARY KEY (keypair, guest)
);
CREATE INDEX guest_keypairs_by_guest ON guest_keypairs (guest);
-- perhaps too many of what was there before: whoever looks there asks the guest too
INSERT INTO guest_keypairs (keypair, guest)
SELECT k.id, g.id FROM guests g JOIN keypairs k ON k.domain = g.domain AND k.account = g.account
WHERE g.body LIKE '%"keypairs":["%' AND g.body LIKE '%"' || k.name || '"%';

-- lists are read in the order in which objects were made, a page at a time
CREATE INDEX zones_in_order ON zones (length(id), id);
CREATE INDEX physical_networks_in_order ON physical_networks (length(id), id);
CREATE INDEX public_ranges_in_order ON public_ranges (length(id), id);
CREATE INDEX appliances_in_order ON appliances (length(id), id);
CREATE INDEX vpcs_in_order ON vpcs (length(id), id);
CREATE INDEX acl_lists_in_order ON acl_lists (length(id), id);
CREATE INDEX acl_rules_in_order ON acl_rules (length(id), id);
CREATE INDEX networks_in_order ON networks (length(id), id);
CREATE INDEX public_ips_in_order ON public_ips (length(id), id);
CREATE INDEX keypairs_in_order ON keypairs (length(id), id);
CREATE INDEX guests_in_order ON guests (length(id), id);
CREATE INDEX guest_nics_in_order ON guest_nics (length(id), id);
CREATE INDEX dns_records_in_order ON dns_records (length(id), id);
CREATE INDEX private_gateways_in_order ON private_gateways (length(id), id);
CREATE INDEX static_routes_in_order ON static_routes (length(id), id);
CREATE INDEX firewall_rules_in_order ON firewall_rules (length(id), id);
CREATE INDEX ipv6_firewall_rules_in_order ON ipv6_firewall_rules (length(id), id);
CREATE INDEX egress_rules_in_order ON egress_rules (length(id), id);
CREATE INDEX static_nats_in_order ON static_nats (length(id), id);
CREATE INDEX port_forwards_in_order ON port_forwards (length(id), id);
CREATE INDEX balancers_in_order ON balancers (length(id), id);
CREATE INDEX balancer_members_in_order ON balancer_members (length(id), id);
CREATE INDEX remote_accesses_in_order ON remote_accesses (length(id), id);
CREATE INDEX vpn_users_in_order ON vpn_users (length(id), id);
CREATE INDEX customer_gateways_in_order ON customer_gateways (length(id), id);
CREATE INDEX vpn_connections_in_order ON vpn_connections (length(id), id);
CREATE INDEX screens_in_order ON screens (length(id), id);
CREATE INDEX console_grants_in_order ON console_grants (length(id), id);
CREATE INDEX image_stores_in_order ON image_stores (length(id), id);
CREATE INDEX images_in_order ON images (length(id), id);
CREATE INDEX image_grants_in_order ON image_grants (length(id), id);

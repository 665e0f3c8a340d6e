-- Whoever deletes an object asks, of each kind, whether one refers to it, and so does the database: every reference has an index.
CREATE INDEX appliances_by_storage_network ON appliances (storage_network);
CREATE INDEX acl_lists_by_zone ON acl_lists (zone);
CREATE INDEX acl_rules_by_router ON acl_rules (router);
CREATE INDEX acl_rules_by_zone ON acl_rules (zone);
CREATE INDEX private_gateways_by_acl ON private_gateways (acl);
CREATE INDEX private_gateways_by_vpc ON private_gateways (vpc);
CREATE INDEX static_routes_by_private_gateway ON static_routes (private_gateway);
CREATE INDEX static_routes_by_vpc ON static_routes (vpc);
CREATE INDEX static_nats_by_network ON static_nats (network);
CREATE INDEX port_forwards_by_network ON port_forwards (network);
CREATE INDEX image_stores_by_staging ON image_stores (staging);
CREATE INDEX images_by_peer ON images (peer);
CREATE INDEX images_by_parent ON images (parent);
CREATE INDEX images_by_copy_of ON images (copy_of);
CREATE INDEX images_by_image_store ON images (image_store);
CREATE INDEX image_grants_by_image ON image_grants (image);
CREATE INDEX balancer_members_by_network ON balancer_members (network);
CREATE INDEX balancer_members_by_router ON balancer_members (router);
CREATE INDEX balancer_members_by_zone ON balancer_members (zone);
CREATE INDEX guest_nics_by_zone ON guest_nics (zone);
CREATE INDEX dns_records_by_zone ON dns_records (zone);

-- proxies and secondary storage VMs are few beside the routers
CREATE INDEX appliances_by_role ON appliances (role, zone);

-- What the services of an appliance said of themselves at the last look, as JSON by service; absent: nothing was said.
CREATE TABLE reports (
    appliance TEXT PRIMARY KEY REFERENCES appliances (id) ON DELETE CASCADE,
    services  TEXT   NOT NULL,
    looked    BIGINT NOT NULL
);

-- what stands in front of an object store
ALTER TABLE image_stores ADD COLUMN staging TEXT REFERENCES image_stores (id);
-- the image that one is a copy of; the snapshot that one is the difference to
ALTER TABLE images ADD COLUMN copy_of TEXT REFERENCES images (id);
ALTER TABLE images ADD COLUMN parent TEXT REFERENCES images (id);

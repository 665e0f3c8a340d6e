-- the appliance that an image is fetched from
ALTER TABLE images ADD COLUMN peer TEXT REFERENCES appliances (id);

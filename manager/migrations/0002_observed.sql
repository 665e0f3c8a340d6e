-- the end of the certificate that the appliance shows (Unix seconds), which need not be the last one issued
ALTER TABLE observations ADD COLUMN shown_until BIGINT;
-- what the appliance reports as wrong with it and what the manager finds, as a JSON list of texts; absent: nothing
ALTER TABLE observations ADD COLUMN alarms TEXT;

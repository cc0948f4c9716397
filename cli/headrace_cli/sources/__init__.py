"""Files of records: NDJSON, CSV or plain lines, compressed or not."""

"""Click-stream windows: counts per minute and page, and the sessions of each user."""

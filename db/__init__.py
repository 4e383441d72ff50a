"""What has been found: searches, trials, architectures and measurements, in SQLite or PostgreSQL."""

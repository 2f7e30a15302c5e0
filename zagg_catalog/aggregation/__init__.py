"""Pick releases up: resolve a release, verify it, run zagg on it, and record the result."""

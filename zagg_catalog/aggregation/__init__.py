"""Pick releases up: resolve one, verify it, hand it to zagg, and record how that ended."""

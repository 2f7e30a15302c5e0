"""Picking releases up: find one, verify it, hand it to zagg, and acknowledge it."""

"""Prefect flows: orchestration only, over the functions of `zagg_catalog`."""

"""Prefect flows: orchestration only, over the functions of `zagg_catalog`."""

import os

# Without it a server that has no internet logs a telemetry error when it starts.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

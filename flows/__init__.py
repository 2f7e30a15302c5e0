"""Prefect flows: orchestration only, over the functions of `zagg_catalog`."""

import os

# Otherwise a server without internet logs a telemetry error when it starts.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

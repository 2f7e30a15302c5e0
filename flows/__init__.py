"""Prefect flows: orchestration only, over the functions of `zagg_catalog`."""

import gc
import logging
import os

from zagg_catalog.messages import PlainRecords

# Otherwise a server without internet logs a telemetry error when it starts.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# A server that Prefect starts itself, for a flow that is called from Python, gets this much, too.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
# Each run has new threads, and Arrow's own allocators keep memory for those that have ended: a
# process that prepares one release after another grows by 10 MB with each.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# Imports make objects that stay; by default the collector looks at them again and again.
gc.set_threshold(50_000)

# Records of runs have texts of others, such as servers.
for _runs in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_runs).addFilter(PlainRecords())

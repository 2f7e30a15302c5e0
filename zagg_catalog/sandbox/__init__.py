"""An offline simulation of CMR-STAC and CMR: serves simulated cycles or GeoParquet files."""

from zagg_catalog.sandbox.faults import Fault
from zagg_catalog.sandbox.granules import Granules, concat
from zagg_catalog.sandbox.server import Request, SandboxServer
from zagg_catalog.sandbox.simulation import simulate

__all__ = ["Fault", "Granules", "Request", "SandboxServer", "concat", "simulate"]

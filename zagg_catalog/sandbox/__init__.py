"""An offline simulation of CMR-STAC, CMR and Earthdata: simulated cycles and their data files."""

from zagg_catalog.sandbox.earthdata import EarthdataServer
from zagg_catalog.sandbox.faults import Fault
from zagg_catalog.sandbox.granules import Granules, concat
from zagg_catalog.sandbox.hdf5 import write_granule
from zagg_catalog.sandbox.server import Request, SandboxServer
from zagg_catalog.sandbox.simulation import simulate
from zagg_catalog.sandbox.story import story
from zagg_catalog.sandbox.timeline import Step, Timeline

__all__ = [
    "EarthdataServer",
    "Fault",
    "Granules",
    "Request",
    "SandboxServer",
    "Step",
    "Timeline",
    "concat",
    "simulate",
    "story",
    "write_granule",
]

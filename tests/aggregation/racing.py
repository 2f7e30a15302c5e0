"""Pick up a release as one of many: `python -m tests.aggregation.racing ROOT DIR CONFIG DIGEST`."""

import sys
from datetime import timedelta
from pathlib import Path

from tests.aggregation.desk import Desk


def main(inputs: str, folder: str) -> None:
    desk = Desk(Path(inputs), Path(folder))
    print("ready", flush=True)
    sys.stdin.readline()
    # Longer than any pause of a busy machine, so that no lease expires.
    picked = desk.pick(lease=timedelta(minutes=10))
    print(picked.status, picked.entry.outcome if picked.entry else None, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

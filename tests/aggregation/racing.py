"""Pick up a release as one of many: `python -m tests.aggregation.racing ROOT DIR CONFIG DIGEST`."""

import sys
from pathlib import Path

from tests.aggregation.desk import Desk


def main(inputs: str, folder: str) -> None:
    desk = Desk(Path(inputs), Path(folder))
    print("ready", flush=True)
    sys.stdin.readline()
    picked = desk.pick()
    print(picked.status, picked.entry.outcome if picked.entry else None, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""CMR's notifications, written as its ingest service and SNS write them."""

from __future__ import annotations

import json

NAME = "ATL06_20240801010203_12342403_007_01.h5"
CONCEPT = "G3164859236-NSIDC_CPRD"


def name_of(track: int, cycle: int = 24, product: str = "ATL06", release: str = "007") -> str:
    """The name of a granule."""
    return f"{product}_20240801010203_{track:04d}{cycle:02d}03_{release}_01.h5"


def body(name: str = NAME, **changes) -> str:
    """CMR's own part of a message; a change to None removes a key."""
    location = f"https://cmr.earthdata.nasa.gov:443/search/concepts/{CONCEPT}/1"
    found = {
        "concept-id": CONCEPT,
        "revision-id": "1",
        "granule-ur": name,
        "location": location,
        "producer-granule-id": name,
    }
    return json.dumps({k: v for k, v in (found | changes).items() if v is not None})


def envelope(message: str, mode: str, **changes: str) -> str:
    """A message as SNS delivers it to a queue without raw delivery."""
    attributes = {"collection-concept-id": "C2670138092-NSIDC_CPRD", "mode": mode}
    found = {
        "Type": "Notification",
        "MessageId": "6b4b5d6b-0f3a-5d6f-8f5d-0e6f0a6f6b4b",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:cmr-subscriptions",
        "Subject": f"{mode} Notification",
        "Message": message,
        "Timestamp": "2024-08-20T00:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "c2lnbmF0dXJl",
        "MessageAttributes": {
            name: {"Type": "String", "Value": value}
            for name, value in (attributes | {"subscriber": "team"}).items()
        },
    }
    return json.dumps(found | changes)

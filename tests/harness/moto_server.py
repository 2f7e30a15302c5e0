"""moto's S3 server, one request at a time: ``python -m tests.harness.moto_server PORT``.

moto itself looks whether a key is there and writes it in two steps, so that two conditional
requests that meet can both win; S3 does not allow that.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterable

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple
from werkzeug.wsgi import get_input_stream


class OneAtATime:
    """A WSGI application behind a lock; bodies are read before it, so that none can hold it."""

    def __init__(self, application) -> None:
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ: dict, start_response) -> Iterable[bytes]:
        environ["wsgi.input"] = io.BytesIO(get_input_stream(environ).read())
        with self.lock:
            return list(self.application(environ, start_response))


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        OneAtATime(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )

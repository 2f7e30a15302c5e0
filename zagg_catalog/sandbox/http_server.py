"""An HTTP server in a thread that can close its open connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any


class HttpServer(ThreadingHTTPServer):
    """An HTTP server that knows its open connections, and when it is about to stop."""

    request_queue_size = 256

    def __init__(self, *args: Any) -> None:
        self.stopping = threading.Event()
        """Set when the server stops; answers that wait have to end then."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        super().__init__(*args)

    def start(self) -> None:
        """Serve in a new thread."""
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, interrupt waits, and release the port."""
        self.stopping.set()
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self._hang_up()
        self.server_close()

    def add_connection(self, connection: socket.socket) -> None:
        """Note a connection that `stop` closes."""
        with self._lock:
            self._open.add(connection)

    def drop_connection(self, connection: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._open.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, and answer its requests in a thread."""
        self.add_connection(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, and close it."""
        self.drop_connection(request)
        super().shutdown_request(request)

    def _hang_up(self) -> None:
        """Wake the threads that wait for a client's next request."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

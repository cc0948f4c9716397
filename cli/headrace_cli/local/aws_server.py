"""AWS on this machine: moto's server in this process, with the bucket and the table that Headrace needs.

For `headrace demo` and the tests. What it cannot show: AWS's latencies, throttling, IAM. Importing this
module takes about two seconds of CPU (moto, flask): import it only where a server is started.
"""

import io
import threading
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, NamedTuple, Self

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from headrace_cli.local.aws_endpoint import REGION, AwsEndpoint

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

HOST = "127.0.0.1"
POLL_INTERVAL_S = 0.05
STOP_TIMEOUT_S = 10.0


class Exchange(NamedTuple):
    """A request that the server answered."""

    method: str
    path: str
    """Decoded."""
    query: str
    """As sent."""
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes
    status: int
    """HTTP status of the answer."""


class LocalAws(AwsEndpoint):
    """A local AWS endpoint while the context is open; environment and configuration are left alone.

    moto keeps its data per process: open one at a time; closing it forgets everything.
    """

    def __init__(
        self,
        bucket: str = "lake",
        table: str = "checkpoints",
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        """Say what it shall have.

        Args:
            bucket: name of the bucket to make.
            table: name of the checkpoint table to make.
            on_exchange: told of every request after its answer, in the server's threads.
        """
        super().__init__(table)
        self.bucket = bucket
        """The bucket that exists while the context is open."""
        self._on_exchange = on_exchange
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """The server's address; see `AwsEndpoint`."""
        if self._server is None:
            raise RuntimeError("the local AWS server is not running")
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        app = _one_at_a_time(_Dispatcher(create_backend_app))
        if self._on_exchange:
            app = _observed(app, self._on_exchange)
        self._server = make_server(HOST, 0, app, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_INTERVAL_S,), name="local-aws", daemon=True
        )
        self._thread.start()
        try:
            self._create_resources()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _create_resources(self) -> None:
        self.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.create_checkpoint_table()

    def _stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        try:
            _forget_everything(self._server.server_port)
        finally:
            self._server.shutdown()
            self._thread.join(STOP_TIMEOUT_S)
            self._server.server_close()
            self._server = self._thread = None


class _QuietHandler(MotoRequestHandler):
    """Writes no line per request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class _Dispatcher(DomainDispatcherApplication):
    """Remembers which service a host stands for: moto lists its own source folder for each request to find out."""

    def __init__(self, create_app: Callable[..., Any]) -> None:
        super().__init__(create_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """The service of a host name."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


def _one_at_a_time(app: WsgiApp) -> WsgiApp:
    """The application behind one lock.

    moto's handlers are not atomic: without the lock two threads can both win `attribute_not_exists`.
    """
    lock = threading.Lock()

    def serialised(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            return [b"".join(app(environ, start_response))]

    return serialised


def _observed(app: WsgiApp, on_exchange: Callable[[Exchange], None]) -> WsgiApp:
    """The application, telling of each request after its answer."""

    def observed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # A body in chunks says nowhere how long it is, and ends by itself.
        length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        statuses: list[str] = []

        def start(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start_response(status, *rest)

        answer = app(environ, start)
        headers = {name[5:].replace("_", "-").lower(): str(v) for name, v in environ.items() if name[:5] == "HTTP_"}
        # WSGI hands the path's bytes over as if they were Latin-1.
        path = environ["PATH_INFO"].encode("latin-1").decode()
        on_exchange(
            Exchange(
                environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers, body, int(statuses[-1].split()[0])
            )
        )
        return answer

    return observed


def _forget_everything(port: int) -> None:
    """Empty moto's process-wide memory, so that the next server starts without this one's data."""
    connection = HTTPConnection(HOST, port, timeout=STOP_TIMEOUT_S)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.close()

"""A server for the live page of one run. It answers GET and HEAD, and serves these addresses only.

| address | content |
|---|---|
| `/` | the page |
| `/status.json`, `/curves.json` | the same for programs |
| `/report.html` | the newest report |
| `/logs/NAME.log` | the end of the log of a job |

A page of another site cannot read the answers: browsers forbid it, and a request under a foreign host name is refused,
so that such a page cannot have its own name point here (DNS rebinding). There is no password. Whoever reaches the port
can read.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
import socket
import stat
import sys
import threading
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.errors import BenchError
from bench.scratch import scratch_folder
from bench.watching.page import policy, render
from bench.watching.report import ReportMaker
from bench.watching.snapshot import SnapshotReader

_LOG_BYTES = 256 * 1024
"""The end of a log that is shown."""
_LOG = re.compile(r"/logs/([^/\\\0]+\.log)")
_IDLE_SECONDS = 10
"""A connection without a request for so long is closed."""
_CONNECTIONS = 64
"""Connections that are open at a time."""
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_REPORT = "sandbox allow-scripts; frame-ancestors 'none'"
"""The report has a policy of its own in the page. As a sandbox it has no access to this server either."""


@dataclass(frozen=True)
class _Answer:
    content: bytes
    type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    policy: str = _NOTHING


class WatchServer(ThreadingHTTPServer):
    """A server that answers each connection in a thread, `_CONNECTIONS` at a time. It refuses further ones."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread, or refuse it where too many are open."""
        if not self.free.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(_TOO_MANY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self.free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the requests of a connection, and make room for another one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def server_bind(self) -> None:
        """Take the address, without the look-up of the machine's full name that `HTTPServer` adds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        return ipaddress.ip_address(self.server_name).is_loopback

    @property
    def url(self) -> str:
        """The address of the page."""
        host, port = self.server_name, self.server_port
        if ipaddress.ip_address(host).is_unspecified:
            host = platform.node()
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@contextmanager
def watch_server(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    hosts: Collection[str] = (),
    reports: bool = True,
    texts: bool = True,
) -> Iterator[WatchServer]:
    """Yield a server of the live page of a run. Its `serve_forever` answers requests.

    Args:
        folder: the folder of the run, which may not exist yet. Nothing is written there.
        host: the address to listen at.
        port: 0 takes a free one.
        hosts: names under which requests are answered, besides the machine's own, `localhost` and addresses.
        reports: make reports of what is there, in a temporary folder, while somebody looks.
        texts: whether reports may contain texts of the data.

    Raises:
        BenchError: nothing can listen there.
    """
    with scratch_folder() as scratch:
        maker = ReportMaker(folder, scratch, texts) if reports else None
        reader = SnapshotReader(folder, maker)
        names = {"localhost", platform.node().lower(), host.lower(), *(name.lower() for name in hosts)}
        try:
            server = WatchServer((host, port), partial(_Handler, reader, frozenset(names)))
        except (OSError, OverflowError) as error:
            hint = ": --port 0 takes a free one" if isinstance(error, OSError) and error.errno else ""
            reason = error.strerror if isinstance(error, OSError) else error
            raise BenchError(f"nothing can listen at {host}, port {port}: {reason}{hint}") from error
        try:
            with server:
                yield server
        finally:
            if maker is not None:
                maker.close()


def is_known_host(header: str | None, names: Collection[str]) -> bool:
    """Whether a Host header names this server: one of its names, or an address.

    An address cannot be rebound, and a tunnel may change the port.
    """
    if header is None:
        return False
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "adaptbench", ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def __init__(self, reader: SnapshotReader, names: frozenset[str], *arguments: Any) -> None:
        self._reader, self._names = reader, names
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer a request."""
        self._send(self._safe_answer())

    def do_HEAD(self) -> None:
        """Answer a request without its content."""
        self._send(self._safe_answer(), with_content=False)

    def _refuse_method(self) -> None:
        self.close_connection = True  # its content is not read
        self._send(_failure(HTTPStatus.METHOD_NOT_ALLOWED, "This server only answers GET and HEAD."))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing: a page asks every two seconds."""

    def _safe_answer(self) -> _Answer:
        if not is_known_host(self.headers.get("Host"), self._names):
            return _failure(HTTPStatus.FORBIDDEN, "This host name is not known here: bench serve --allow-host NAME")
        try:
            return self._answer()
        except Exception as error:  # the page goes on: the next request may succeed
            traceback.print_exc()
            return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _answer(self) -> _Answer:
        try:
            address = urlsplit(self.path)
            path = unquote(address.path, errors="strict")
        except ValueError:
            return _failure(HTTPStatus.BAD_REQUEST, "This is no address.")
        if path == "/":
            chosen = parse_qs(address.query).get("curves", [""])[0]
            page = render(self._reader.snapshot(), chosen)
            return _Answer(page.encode(errors="replace"), "text/html; charset=utf-8", policy=policy())
        if path == "/status.json":
            return _json(self._reader.snapshot().status())
        if path == "/curves.json":
            return _json(self._reader.snapshot().all_curves())
        if path == "/report.html":
            page_file = self._reader.snapshot().report_page
            content = _content(page_file) if page_file is not None else None
            if content is None:
                return _failure(HTTPStatus.NOT_FOUND, "There is no report yet.")
            return _Answer(content, "text/html; charset=utf-8", policy=_REPORT)
        if found := _LOG.fullmatch(path):
            logs = self._reader.folder / "logs"
            content = None if logs.is_symlink() else _content(logs / found[1], _LOG_BYTES)
            if content is not None:
                return _Answer(content)
        return _failure(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _send(self, answer: _Answer, with_content: bool = True) -> None:
        self.send_response(answer.status)
        headers = _HEADERS | {"Content-Type": answer.type, "Content-Security-Policy": answer.policy}
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if with_content:
            self.wfile.write(answer.content)


def _json(values: Any) -> _Answer:
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, default=str)
    return _Answer(text.encode(), "application/json")


def _failure(status: HTTPStatus, message: str) -> _Answer:
    return _Answer(f"{message}\n".encode(errors="replace"), status=status)


def _content(path: Path, last: int = 0) -> bytes | None:
    """Return the content of a plain file, or its last bytes; None for anything else, links included."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream:
        if last:
            stream.seek(max(0, found.st_size - last))
        return stream.read()

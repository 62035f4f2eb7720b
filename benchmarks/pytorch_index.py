"""A stand-in for download.pytorch.org on this machine, so that tools that choose a torch can be asked without it.

What is faked: the index pages of torch for each variant, with the wheels that they are given, and the metadata of those
wheels; no wheel can be fetched. Tools come by a proxy that knows no other host, and trust a certificate that is made
for the occasion.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "download.pytorch.org"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the host; give the authority to trust, and the certificate with its key."""
    authority = trustme.CA()
    trusted, own = folder / "authority.pem", folder / "host.pem"
    authority.cert_pem.write_to_path(trusted)
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(own)
    return trusted, own


def serve(wheels: Mapping[tuple[str, str], Mapping[str, str]], pem: Path) -> str:
    """Serve until the process ends.

    Args:
        wheels: by variant (``"cu128"``) and package, the file names of its wheels, each with its metadata.
        pem: certificate and key.

    Returns:
        the address of the proxy, for ``HTTPS_PROXY``.

    """

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, rest = self.path.partition("/whl/")
            variant, _, path = rest.strip("/").partition("/")
            package, _, file = path.partition("/")
            known = wheels.get((variant, package.replace("_", "-")), {})
            name = file.replace("%2B", "+").removesuffix(".metadata")
            if not file and known:
                links = "".join(
                    f'<a href="/whl/{variant}/{package}/{each.replace("+", "%2B")}#sha256={"0" * 64}" '
                    f'data-dist-info-metadata="{_hash(text)}" data-core-metadata="{_hash(text)}">{each}</a><br>'
                    for each, text in known.items()
                )
                self._answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>", "text/html")
            elif file.endswith(".metadata") and name in known:
                self._answer(200, known[name], "application/octet-stream")
            else:
                self._answer(404, "", "text/html")

        do_HEAD = do_GET  # noqa: N815 - the library looks for this name

        def _answer(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    pages = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    pages.socket = context.wrap_socket(pages.socket, server_side=True)
    threading.Thread(target=pages.serve_forever, daemon=True).start()

    class Proxy(StreamRequestHandler):
        def handle(self) -> None:
            first = self.rfile.readline().decode()
            while self.rfile.readline().strip():
                pass
            if first.split()[:2] != ["CONNECT", f"{HOST}:443"]:
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(pages.server_address[:2]) as inner:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                other = threading.Thread(target=_copy, args=(inner, self.connection), daemon=True)
                other.start()
                _copy(self.connection, inner)
                other.join()

    proxy = ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{proxy.server_address[1]}"


def _hash(text: str) -> str:
    return f"sha256={hashlib.sha256(text.encode()).hexdigest()}"


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(1)

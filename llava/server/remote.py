"""Pages from other machines: only from hosts that the server's owner named, and nothing but their bytes.

A name must lead to public addresses, and the connection goes to the very address that was looked at, so that a name
cannot be made to lead inside afterwards. Whoever wants pages of an inner machine names its address itself. Redirects
are not followed.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, urlsplit

from llava.server.errors import RequestError

_CHUNK = 2**16


class RemotePages:
    """Fetches pages.

    Args:
        hosts: ``NAME`` (port 443, or 80 for http) or ``NAME:PORT``.
        most: bytes of one page.
        seconds: for one page.
    """

    def __init__(self, hosts: frozenset[str], *, most: int, seconds: float) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most, self._seconds = most, seconds

    def __call__(self, url: str, name: str) -> bytes:
        """The bytes behind an address.

        Raises:
            RequestError: if its host is not allowed, or it does not give them whole, in time and in size.
        """
        parts = self._allowed(url, name)
        end = time.monotonic() + self._seconds
        try:
            connection = self._connect(parts, end)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"Accept": "image/*, application/pdf"})
                return self._read(connection.getresponse(), name, end)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            raise _refusal(
                name, f"its address gives nothing within {self._seconds:g} s ({type(error).__name__})"
            ) from (error)

    def _allowed(self, url: str, name: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise _refusal(name, "its address cannot be read") from error
        usual = 443 if parts.scheme == "https" else 80
        named = {f"[{host}]" if ":" in host else host}
        wanted = {f"{each}:{port or usual}" for each in named} | (named if port in (None, usual) else set())
        if parts.username is not None or parts.password is not None or not self._hosts & wanted:
            raise _refusal(name, "its host is not among those that this server fetches pages from", status=403)
        return parts

    def _connect(self, parts: SplitResult, end: float) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = _public_address(host, port)
        left = max(0.001, end - time.monotonic())
        sock = socket.create_connection((address, port), timeout=left)
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=left)
        connection.sock = sock
        return connection

    def _read(self, response: http.client.HTTPResponse, name: str, end: float) -> bytes:
        if response.status != 200:
            raise _refusal(name, f"its host answers with status {response.status}")
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self._most:
                raise _refusal(name, f"it is larger than {self._most / 2**20:g} MiB", status=413)
            if time.monotonic() > end:
                raise TimeoutError
        if response.length:
            raise _refusal(name, "its host stopped in the middle")
        return bytes(data)


def _public_address(host: str, port: int) -> str:
    try:
        return str(ipaddress.ip_address(host))  # written out, so that its owner means it
    except ValueError:
        pass
    found = [info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    public = [str(address) for address in found if ipaddress.ip_address(address).is_global]
    if not public or len(public) < len(found):
        raise OSError("the name leads inside")
    return public[0]


def _refusal(name: str, fault: str, status: int = 400) -> RequestError:
    return RequestError(
        f"{name} cannot be fetched: {fault}; send the file itself as a data URL",
        status=status,
        code="remote_page",
        param="messages",
    )

"""Whether a server that the user has named (Ray, MLflow) can be connected to. Nothing is sent, nothing is read.

Pages and pictures are fetched through pipeline/web/network.py alone; this is only for `openwit doctor`.
"""

import socket
from urllib.parse import urlsplit

CONNECT_SECONDS = 2.0


def host_and_port(address: str) -> tuple[str | None, int]:
    """(None, 0) for an address that is no server: "auto", "local", "sqlite:///...", a folder."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.scheme not in ("", "http", "https", "ray") or ("://" not in address and ":" not in address):
        return None, 0
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname, port or {"https": 443, "http": 80, "ray": 10001}.get(parts.scheme, 6379)


def without_password(address: str) -> str:
    """The address fit to be shown."""
    parts = urlsplit(address)
    return address.replace(f"{parts.netloc.rsplit('@', 1)[0]}@", "***@", 1) if "@" in parts.netloc else address


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False

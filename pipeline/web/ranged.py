"""Files of a recipe that lie on the web (`files: [https://...]`): read in ranges, through the one guarded door.

fsspec's own http client would go out past address checks, limits and the honest user agent. So http(s) paths become
`guarded://TOKEN/https/host/path`, which names this file system; TOKEN holds the recipe's network limits, so that a path means
the same in every worker. Ranges are RFC 9110's section 14. Somebody wrote the URL into the recipe, so robots.txt, which
is for what a crawler finds by itself, is not asked; addresses, ports, redirects, sizes and times are judged as everywhere.
"""

import base64
import functools
import json
import re
from typing import Any

from fsspec import register_implementation
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from pipeline.web.answer import Fetched
from pipeline.web.network import Network
from pipeline.web.together import run_async
from pipeline.web.urls import UnusableURLError, canonical
from pipeline.web.web_config import NetworkConfig

PROTOCOL = "guarded"
BLOCK_BYTES = 8 << 20
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


def guarded(url: str, network: NetworkConfig) -> str:
    """The path under which this file system reads `url`. Raises UnusableURLError."""
    given = network.model_dump(mode="json", exclude_defaults=True)
    token = base64.urlsafe_b64encode(json.dumps(given, sort_keys=True).encode()).decode().rstrip("=")
    scheme, _, rest = canonical(url).partition("://")
    return f"{PROTOCOL}://{token}/{scheme}/{rest}"


def is_web(path: str) -> bool:
    return path.lower().startswith(("http://", "https://"))


def url_of(path: str) -> str:
    """The URL behind a path of this file system; any other path as it is."""
    if not path.startswith(f"{PROTOCOL}://"):
        return path
    _, scheme, rest = path.removeprefix(f"{PROTOCOL}://").split("/", 2)
    return f"{scheme}://{rest}"


@functools.lru_cache(maxsize=64)
def _network(token: str) -> NetworkConfig:
    return NetworkConfig(**json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))))


class GuardedFiles(AbstractFileSystem):
    """Read-only: `info`, `open`, `cat_file`. Nothing can be listed."""

    protocol = PROTOCOL

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{PROTOCOL}://")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size, and ETag where there is one. Raises FileNotFoundError, OSError."""
        fetched, (_first, size) = self._range(path, 0, 1)
        found: dict[str, Any] = {"name": self._strip_protocol(path), "size": size, "type": "file"}
        etag = fetched.headers.get("etag", "")
        if etag and not etag.startswith("W/"):  # a weak one says nothing of bytes
            found["ETag"] = etag
        return found

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        found = self.info(path)
        return [found] if detail else [found["name"]]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        size = int(self.info(path)["size"]) if end is None or end < 0 or (start or 0) < 0 else end
        start = (start or 0) + (size if (start or 0) < 0 else 0)
        end = size if end is None else end + (size if end < 0 else 0)
        return b"".join(self.piece(path, at, min(at + BLOCK_BYTES, end)) for at in range(start, end, BLOCK_BYTES))

    def piece(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to before `end`, fewer at the file's end."""
        fetched, (first, _) = self._range(path, start, end)
        return fetched.body[start - first : end - first]

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> "GuardedFile":
        if mode != "rb":
            raise PermissionError(f"{url_of(f'{PROTOCOL}://{path}')}: files on the web are read only")
        return GuardedFile(self, path, mode, block_size or BLOCK_BYTES, cache_type="readahead")

    def _range(self, path: str, start: int, end: int) -> tuple[Fetched, tuple[int, int]]:
        """(answer, (place of its first byte, bytes of the whole file))."""
        token = self._strip_protocol(path).split("/", 1)[0]
        url, config = url_of(f"{PROTOCOL}://{self._strip_protocol(path)}"), _network(token)

        async def ask() -> Fetched:
            async with Network(config) as network:
                return await network.get_range(url, start, end)

        fetched: Fetched = run_async(ask())
        if fetched.reason == "not_found":
            raise FileNotFoundError(f"{url} is not there")
        if fetched.reason is not None:
            raise OSError(f"{url}: {fetched.reason}: {fetched.evidence}")
        told = _RANGE.fullmatch(fetched.headers.get("content-range", "").strip())
        if fetched.status == 206 and told is not None:
            first, last, size = (int(number) for number in told.groups())
            if first == start and last - first + 1 == len(fetched.body):
                return fetched, (first, size)
        length = fetched.headers.get("content-length", "")
        if fetched.status == 200 and length == str(len(fetched.body)):  # the whole file, which is small
            return fetched, (0, len(fetched.body))
        raise OSError(f"{url}: its server gives no ranges of a file; download it, and name the copy")


class GuardedFile(AbstractBufferedFile):
    """An open file, a block ahead."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.piece(self.path, start, end)) if start < end else b""


register_implementation(PROTOCOL, GuardedFiles, clobber=True)

__all__ = ["GuardedFiles", "UnusableURLError", "guarded", "is_web", "url_of"]

"""Object stores (s3://, gs://, hf://, ...) behind fsspec: their failures as one line, and what to install for each.

Each store's package retries what may pass (s3fs and botocore five times, gcsfs six, with growing waits, on lost connections
and 5xx) and then raises exceptions of its own: botocore's, aiohttp's, Google's, httpx's. None may be taken for a damaged
file, and no user should read its traceback. So all go through one proxy: what is not there stays FileNotFoundError, all else
that the store says is a DataError; what was finished before is kept, and the next run goes on from there.
"""

import functools
import io
import logging
import os
from collections.abc import Callable
from typing import Any

import fsspec

from pipeline.errors import ConfigError, DataError, UserError

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "abfs": "adlfs",
    "az": "adlfs",
}
_HERE = ("", "file", "local", "memory", "guarded")
_ANSWERS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError)
_FOREIGN = ("botocore", "aiobotocore", "boto3", "aiohttp", "gcsfs", "google", "requests", "httpx", "huggingface_hub",
            "adlfs", "azure", "urllib3", "fsspec", "asyncio", "s3fs")  # fmt: skip
_UNCACHED = ("s3", "s3a", "gs", "gcs", "abfs", "az")
"""Listings that are kept would not know what other processes wrote meanwhile."""
_BLOCK = 1 << 20


def scheme_of(path: str) -> str:
    return path.partition("://")[0].lower() if "://" in path else ""


def filesystem_of(path: str) -> tuple[Any, str]:
    """(file system, name in it) of a path or URL. Raises ConfigError for a store that cannot be reached from here."""
    scheme = scheme_of(path)
    if scheme in ("gs", "gcs"):
        _quiet_google()
    try:
        options = {"use_listings_cache": False} if scheme in _UNCACHED else {}
        filesystem, name = fsspec.core.url_to_fs(path, **options)
    except ImportError as error:
        package = PACKAGES.get(scheme)
        way_out = f"pip install {package}" if package else "use a local path, s3://, gs:// or hf://"
        raise ConfigError(f"{path!r}: {scheme}:// needs a package that is not installed; {way_out}") from error
    except ValueError as error:
        raise ConfigError(f"{path!r}: {_words(error)}; use a local path, s3://, gs:// or hf://") from error
    except Exception as error:  # some look for credentials at once
        raise _told(f"{scheme}://", error) from error
    return (filesystem if scheme in _HERE else Store(filesystem, scheme)), name


@functools.lru_cache(maxsize=1)
def _quiet_google() -> None:
    """gcsfs speaks Google's JSON API, and says what went wrong in its exceptions alone.

    Its other way (gRPC, for zonal buckets) first asks for each bucket's kind, past STORAGE_EMULATOR_HOST and with rights that
    few have. Who needs it sets GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=true. Its log would print each failure's traceback.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    log = logging.getLogger("gcsfs")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)


class Store:
    """A file system whose calls raise FileNotFoundError and its like, or DataError."""

    def __init__(self, filesystem: Any, scheme: str) -> None:
        self._filesystem, self._scheme = filesystem, scheme

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self._filesystem, self._scheme)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._filesystem, name)
        return functools.partial(_call, self._scheme, attribute) if callable(attribute) else attribute

    def makedirs(self, name: str, exist_ok: bool = True) -> None:
        """Nothing: objects need no folders, and a bucket that is not there is a mistake, none to be made."""

    def open(self, name: str, mode: str = "rb", **options: Any) -> Any:
        file = _call(self._scheme, self._filesystem.open, name, mode, **options)
        return io.BufferedReader(_Reader(file, f"{self._scheme}://{name}"), _BLOCK) if mode == "rb" else file


class _Reader(io.RawIOBase):
    """An open file of a store, read with the same care."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            if _is_failure(error):
                raise _told(self._url, error) from error
            raise
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _call(scheme: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except (*_ANSWERS, UserError):
        raise
    except Exception as error:
        name = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        if _is_failure(error):
            raise _told(f"{scheme}://{name}", error) from error
        raise


def _is_failure(error: Exception) -> bool:
    """Of the store, and no answer or a bug of ours. gcsfs raises ValueError where Google calls a request bad."""
    if type(error) is ValueError:
        return str(error).startswith(("Bad Request", "Bucket is requester pays"))
    return isinstance(error, OSError | TimeoutError) or type(error).__module__.startswith(_FOREIGN)


def _told(url: str, error: Exception) -> DataError:
    if isinstance(error, PermissionError) or "redential" in type(error).__name__ or _is_refused(error):
        return DataError(f"{url}: the store refuses ({_words(error)}); check its credentials and rights, and run again")
    return DataError(
        f"{url}: the store does not answer ({_words(error)}); run again when it does, what is finished is kept"
    )


def _is_refused(error: Exception) -> bool:
    """gcsfs's way of saying so: 401 as a code, 403 as a plain OSError, 400 as a ValueError."""
    return (
        getattr(error, "code", None) in (401, 403)
        or type(error) is ValueError
        or (type(error) is OSError and str(error).startswith("Forbidden"))
    )


def _words(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]

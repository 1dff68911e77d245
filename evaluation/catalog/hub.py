"""Files of a data set repository on the Hugging Face hub: their list with checksums, and downloads that can be resumed.

Plain HTTP by the pipeline's one door to the network: `/api/datasets/.../tree` lists names, sizes and hashes (SHA-256 of large
files, git's SHA-1 of small ones), `/datasets/.../resolve` gives them, in parts. robots.txt is obeyed; X-Robots-Tag and TDM
reservations are about training data and search, and do not hold back what a person downloads by name.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import DataError
from pipeline.web.network import Fetched, Network, NetworkConfig
from pipeline.web.together import run_async

HUB = "https://huggingface.co"
PART_BYTES = 16 << 20
FILES_AT_ONCE = 4
MAX_LIST_BYTES = 32 << 20
MAX_FILES, MAX_PAGES = 200_000, 2_000
"""Of a listing; a hub that never ends one is not listened to for ever."""
UNFINISHED = ".part"
_NAME = re.compile(r"\.?[A-Za-z0-9_][\w.+=@ -]*(/\.?[A-Za-z0-9_][\w.+=@ -]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")

Said = Callable[[int, int, str], None]
"""(bytes done, bytes in all, file)."""


@dataclass(frozen=True)
class HubFile:
    """One file: name in the repository, bytes, and the hash that the hub gives ("sha256" or git's "sha1")."""

    name: str
    bytes: int
    kind: str
    hash: str


@dataclass(frozen=True)
class Hub:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]


def network_config() -> NetworkConfig:
    """Limits that suit large files: a part must come within ten minutes."""
    return NetworkConfig(
        total_seconds=600,
        max_bytes=max(2 * PART_BYTES, MAX_LIST_BYTES),
        retries=5,
        opt_out_directives=(),
        read_tdmrep=False,
    )


def listed(repository: str, revision: str, config: NetworkConfig, hub: str) -> Hub:
    """The files of `repository` at `revision`, which becomes a commit. Raises DataError, one line."""

    async def work() -> Hub:
        async with Network(config) as network:
            about = await _json(
                network, f"{hub}/api/datasets/{repository}/revision/{quote(revision, safe='')}", repository
            )
            commit = str(about.get("sha", "")) if isinstance(about, dict) else ""
            if not _COMMIT.fullmatch(commit):
                raise DataError(f"{repository}: the hub names no commit for '{revision}'; try again later")
            if _COMMIT.fullmatch(revision) and commit != revision:
                raise DataError(
                    f"{repository}: the hub gives commit {commit[:12]} for {revision[:12]}; nothing is taken"
                )
            files: list[HubFile] = []
            url: str | None = f"{hub}/api/datasets/{repository}/tree/{commit}?recursive=true&expand=false"
            seen: set[str] = set()
            while url and url not in seen:
                seen.add(url)
                got = await _got(network, url, repository)
                files += [_file(repository, entry) for entry in _entries(got, repository)]
                if len(files) > MAX_FILES or len(seen) > MAX_PAGES:
                    raise DataError(
                        f"{repository}: lists more than {MAX_FILES:,} files or {MAX_PAGES:,} pages; nothing is taken"
                    )
                after = re.search(r'<([^>]+)>;\s*rel="next"', got.headers.get("link", ""))
                url = after[1] if after else None
            _check_apart(repository, [file.name for file in files])
            return Hub(repository, commit, tuple(sorted(files, key=lambda file: file.name)))

    found: Hub = run_async(work())
    return found


def download(found: Hub, files: Sequence[HubFile], folder: Path, config: NetworkConfig, hub: str, said: Said) -> None:
    """`files` below `folder`, each written beside its name as .part until its hash is right; what is there stays.

    Raises DataError where one cannot be had; what came of it stays, and the same call goes on there.
    """
    total, done = sum(file.bytes for file in files), 0

    async def work() -> None:
        gate = asyncio.Semaphore(FILES_AT_ONCE)
        async with Network(config) as network:

            async def one(file: HubFile) -> None:
                nonlocal done
                async with gate:
                    url = f"{hub}/datasets/{found.repository}/resolve/{found.commit}/{quote(file.name)}"
                    async for count in _parts(network, url, file, folder / file.name):
                        done += count
                        said(done, total, file.name)

            tasks = [asyncio.ensure_future(one(file)) for file in files]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    run_async(work())


async def _parts(network: Network, url: str, file: HubFile, path: Path) -> Any:
    """Download one file, yielding how many bytes have become known to be there."""
    if path.exists() and path.stat().st_size == file.bytes:
        if hash_of(path, file.kind) == file.hash:
            yield file.bytes
            return
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + UNFINISHED)
    with open(part, "ab") as out:
        at = out.tell()
        if at > file.bytes:
            out.truncate(0)
            at = 0
        yield at
        while at < file.bytes:
            got = await _got(network, url, file.name, (at, min(file.bytes, at + PART_BYTES)))
            if got.status == 200:  # the server gave all of it
                out.truncate(0)
                yield -at
                at = 0
            elif not got.headers.get("content-range", "").startswith(f"bytes {at}-"):
                raise DataError(f"{file.name}: the hub sent another part than was asked for; try again later")
            if not got.body:
                raise DataError(f"{file.name}: the hub sent nothing from byte {at:,} on; try again later")
            out.write(got.body)
            at += len(got.body)
            yield len(got.body)
    if at != file.bytes or hash_of(part, file.kind) != file.hash:
        part.unlink()
        raise DataError(
            f"{file.name}: has not the {file.kind} that the hub lists ({file.hash[:12]}); start the command again"
        )
    os.replace(part, path)


def hash_of(path: Path, kind: str) -> str:
    """SHA-256 of a file, or git's SHA-1 of it as a blob."""
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "sha1":
        digest.update(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


async def _json(network: Network, url: str, what: str) -> Any:
    return _parsed(await _got(network, url, what), what)


def _parsed(got: Fetched, what: str) -> Any:
    try:
        return json.loads(got.body)
    except ValueError as error:
        raise DataError(f"{what}: the hub's answer is not JSON; try again later") from error


async def _got(network: Network, url: str, what: str, span: tuple[int, int] | None = None) -> Fetched:
    got = await network.get(url, span=span)
    if got.status in (401, 403):
        raise DataError(
            f"{what}: the hub wants its terms accepted first (status {got.status}); do so there and download by hand"
        )
    if got.reason is not None:
        raise DataError(
            f"{what}: {got.reason} ({got.evidence}) at {url}; the same command goes on where this one ended"
        )
    return got


def _entries(got: Fetched, repository: str) -> list[dict[str, Any]]:
    entries = _parsed(got, repository)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{repository}: the hub's answer is no list of files; try again later")
    return [entry for entry in entries if entry.get("type") == "file"]


def _check_apart(repository: str, names: Sequence[str]) -> None:
    """Raises DataError where two files would be written to one place: twice the same name, a file and a folder, or a name that
    an unfinished download of another has."""
    once = set(names)
    folders = {"/".join(parts[:at]) for parts in (name.split("/") for name in once) for at in range(1, len(parts))}
    twice = len(once) != len(names) or once & folders or {f"{name}{UNFINISHED}" for name in once} & once
    if twice:
        raise DataError(f"{repository}: lists two files for one place; nothing is taken")


def _file(repository: str, entry: dict[str, Any]) -> HubFile:
    name, size, large = str(entry.get("path", "")), entry.get("size"), entry.get("lfs")
    digest = str((large.get("oid") if isinstance(large, dict) else None) or entry.get("oid") or "")
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{repository}: lists a file called {name[:80]!r}, which could lie outside its folder; nothing is taken"
        )
    if (
        not isinstance(size, int)
        or isinstance(size, bool)
        or size < 0
        or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", digest)
    ):
        raise DataError(f"{repository}: the hub lists {name} without size or hash; try again later")
    return HubFile(name, size, "sha256" if len(digest) == 64 else "sha1", digest)

"""A crawl's manners across its workers: who asks a host at one time, and what the host's own files said when they were read.

Pages of one host lie in many work items. Items that share a host never run at the same time, so Crawl-delay, Retry-After and
the limits per host hold over all workers; each leaves the robots.txt that it read to those after it, and the crawl leaves
all of them to the fetch. The cut into items stays as it is, so neither changes a result.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pipeline import storage
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.web.answer import Fetched
from pipeline.web.body import retry_after_seconds
from pipeline.web.site_files import SiteFiles
from pipeline.web.urls import host_of, origin_of

_HOME, _AWAY = "rules", "away"
_FILES = ("robots", "tdm", "ai")


def turns(hosts: Sequence[Iterable[str]]) -> list[list[int]]:
    """Positions in groups, within which no two share a host; as few groups as taking each first that fits gives."""
    taken: dict[str, set[int]] = {}
    groups: list[list[int]] = []
    for position, names in enumerate(hosts):
        busy: set[int] = set().union(*(taken.setdefault(name, set()) for name in names))
        turn = next(number for number in range(len(groups) + 1) if number not in busy)
        if turn == len(groups):
            groups.append([])
        groups[turn].append(position)
        for name in names:
            taken[name].add(turn)
    return groups


def run_in_turns(
    folder: str,
    function: Callable[[Any], Output],
    items: Sequence[WorkItem],
    executor: Executor,
    progress: Progress,
    what: str,
) -> list[Record]:
    """`run_items` for items whose arguments hold `urls`, one at a time for each host."""
    records: dict[int, Record] = {}
    for turn in turns([{host_of(url) for url in item.arguments["urls"]} for item in items]):
        told = _Later(progress, len(records), len(items))
        done = run_items(folder, function, [items[position] for position in turn], executor, told, what)
        records.update(zip(turn, done, strict=True))
    return [records[position] for position in range(len(items))]


class _Later:
    """A Progress of some of the items, told as one of all."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress, self._before, self._total = progress, before, total
        note = getattr(progress, "note", None)
        if note is not None:
            self.note = note

    def __call__(self, done: int, total: int, what: str) -> None:
        self._progress(self._before + done, self._total, what)


def known_files(folder: str, urls: Iterable[str]) -> list[SiteFiles]:
    """What was read of these URLs' hosts before, by this crawl."""
    found = []
    for origin in sorted({origin_of(url) for url in urls}):
        with contextlib.suppress(FileNotFoundError):
            found.append(_read(_path(folder, origin)))
    return found


def _read(path: str) -> SiteFiles:
    value = json.loads(storage.read_bytes(path))
    texts = {name: value[name].encode("latin-1") for name in _FILES if value[name] is not None}
    return SiteFiles(value["origin"], value["read_at"], **texts)


def keep_files(folder: str, files: Iterable[SiteFiles]) -> None:
    """For the items that come after this one."""
    for each in files:
        value = {
            name: part.decode("latin-1") if isinstance(part, bytes) else part for name, part in asdict(each).items()
        }
        storage.write_bytes(_path(folder, each.origin), json.dumps(value).encode())


def all_files(folder: str) -> list[SiteFiles]:
    """What a finished crawl read of its hosts: a fetch of its pictures need not ask them again."""
    home = storage.join(folder, _HOME)
    paths = [storage.join(home, part, name) for part in storage.list_names(home)
             for name in storage.list_names(storage.join(home, part)) if name.endswith(".json")]  # fmt: skip
    return [_read(path) for path in paths]


def forget_files(folder: str) -> None:
    """The site is down: whoever tries later asks anew."""
    storage.remove_tree(storage.join(folder, _HOME))
    storage.remove_tree(storage.join(folder, _AWAY))


def keep_away(folder: str, answers: Iterable[Fetched], longest_seconds: float) -> None:
    """Note the hosts whose Retry-After asks for more than that, for the items that come after this one."""
    for answer in answers:
        wait = retry_after_seconds(answer.headers.get("retry-after")) if answer.status in (429, 503) else None
        if wait is not None and wait > longest_seconds:
            why = f"status {answer.status}, Retry-After over {longest_seconds:g} s"
            value = {"until": time.time() + wait, "status": answer.status, "why": why}
            path = _path(folder, host_of(answer.final_url), _AWAY)
            if not storage.exists(path) or storage.read_json(path)["until"] < value["until"]:
                storage.write_json(path, value)


def sent_away(folder: str, urls: Sequence[str]) -> dict[str, Fetched]:
    """The answer of those whose host, by a note that still counts, is to be left alone."""
    notes: dict[str, dict[str, Any]] = {}
    for host in {host_of(url) for url in urls}:
        with contextlib.suppress(FileNotFoundError):
            notes[host] = storage.read_json(_path(folder, host, _AWAY))
    found = {}
    for url in urls:
        note = notes.get(host_of(url))
        if note is not None and note["until"] > time.time():
            found[url] = Fetched(url, url, note["status"], {}, b"", "http_error", note["why"])
    return found


def _path(folder: str, name: str, home: str = _HOME) -> str:
    digest = storage.sha256(name.encode())[:32]
    return storage.join(folder, home, digest[:2], f"{digest}.json")

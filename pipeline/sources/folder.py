"""A folder of pictures with captions: nothing is downloaded, each row says where its picture lies.

A picture's text comes from a file beside it (cat.jpg, cat.txt, cat.json or cat.caption), from a file of captions in the folder
(caption_files.py), or from its folder's name (ImageNet's layout), where not all lie in one.
"""

import functools
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.pictures.picture_config import FILE_ENDINGS
from pipeline.sample import candidates, pair_uid
from pipeline.sources.caption_files import captions_of, is_caption_file
from pipeline.sources.config import FolderSource
from pipeline.sources.inputs import checked_scheme, identify, marks
from pipeline.sources.json_values import loaded
from pipeline.sources.pages import Dropped
from pipeline.sources.table_form import TEXT_NAMES
from pipeline.web.body import file_text

_MAX_SIDECAR = 1 << 20


def harvest_folder(
    name: str, config: FolderSource, folder: str, executor: Executor, progress: Progress = silent
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE with `location`; `texts` are all captions that a table has of the picture."""
    names = below(config.path, f"curate.sources.{name}.path")
    pictures = [each for each in names if each.lower().endswith(FILE_ENDINGS)]
    if not pictures:
        raise ConfigError(
            f"curate.sources.{name}.path: {config.path!r} holds no picture ({', '.join(FILE_ENDINGS)}); give the folder of some"
        )
    tables = _tables(names, pictures) if config.captions in ("auto", "table") else []
    words = captions_of(config.path, tables, pictures)
    alone = _says_nothing(config, pictures)
    sidecars = set(names) if config.captions in ("auto", "sidecar") else set()
    items = []
    for start in range(0, len(pictures), config.pictures_per_item):
        part = pictures[start : start + config.pictures_per_item]
        beside = {each: [side for side in _sidecars(each) if side in sidecars] for each in part}
        given = {each: words[each] for each in part if each in words}
        items.append((f"folder-{start:09d}", (part, beside, given)))
    identify_part = functools.partial(_identify, config.path)
    work: list[WorkItem] = []
    for position, (digest, versions, beside) in executor.map(identify_part, [part for _, part in items]):
        label, (part, _, given) = items[position]
        work.append(
            WorkItem(
                label,
                [name, config.captions, config.text_template, digest, *([alone] if alone else [])],
                (part, beside, given, versions),
            )
        )
    work.sort(key=lambda item: item.name)
    read = functools.partial(_read, name, config, alone)
    records = run_items(folder, read, work, executor, progress, f"{name}: pictures")
    files, endings = _files(names, pictures)
    extra = {"captions_read": sum(map(len, words.values())), "other_endings": endings}
    result = PhaseResult.of_records(name, folder, records, extra)
    result = replace(result, fates={"files": files, **result.fates})
    result.save()
    return result


def _files(names: Sequence[str], pictures: Sequence[str]) -> tuple[Fate, dict[str, int]]:
    """What became of every file of the folder, and how many of the others end in what."""
    captions = {side for each in pictures for side in _sidecars(each)}
    others = [each for each in names if not each.lower().endswith(FILE_ENDINGS)]
    captions.update(_tables(names, pictures))
    of_captions = sum(each in captions for each in others)
    unknown = [each for each in others if each not in captions]
    endings = Counter(posixpath.splitext(each)[1].lower()[:20] or "none" for each in unknown)
    reasons = {"caption_file": of_captions, "not_a_picture_file": len(unknown)}
    return Fate(len(names), len(pictures), {word: n for word, n in reasons.items() if n}), dict(sorted(endings.items()))


def below(folder: str, key: str) -> list[str]:
    """Paths of all files below, relative and sorted. Raises ConfigError where there is no folder."""
    checked_scheme(folder, key)
    try:
        filesystem, root = storage.filesystem_of(folder)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
    if not filesystem.isdir(root):
        raise ConfigError(f"{key}: {folder!r} is no folder; correct the path")
    root = root.rstrip("/") + "/"
    return sorted(_readable(str(each)[len(root) :]) for each in filesystem.find(root))


def _readable(name: str) -> str:
    """A name that is no UTF-8 gets question marks: it is found nowhere then, and counted for it."""
    return name.encode("utf-8", "replace").decode()


def below_with_marks(folder: str, key: str) -> str:
    """A cheap hash of all files below, with their sizes and times or checksums."""
    filesystem, root = storage.filesystem_of(checked_scheme(folder, key))
    if not filesystem.isdir(root):
        raise ConfigError(f"{key}: {folder!r} is no folder; correct the path")
    root = root.rstrip("/") + "/"
    told = sorted(
        [_readable(str(name)[len(root) :]), *marks(facts)] for name, facts in filesystem.find(root, detail=True).items()
    )
    return storage.sha256(storage.canonical_json(told))


def _tables(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """The files that hold captions of many pictures: none that lies beside one of its own."""
    own = {side for each in pictures for side in _sidecars(each)}
    return [each for each in names if is_caption_file(each) and each not in own]


def _sidecars(name: str) -> list[str]:
    stem = posixpath.splitext(name)[0]
    return [f"{stem}.txt", f"{stem}.json", f"{stem}.caption"]


_Beside = dict[str, list[str]]


def _identify(folder: str, part: tuple[list[str], _Beside, dict[str, list[str]]]) -> tuple[str, list[Any], _Beside]:
    """A hash of everything the rows come from, what tells each picture from another of that name (None where it cannot be
    read: a link to nothing, a pipe, a file of another user), and those files beside them that can be read."""
    pictures, beside, given = part
    versions = [_version(folder, each) for each in pictures]
    found = {each: {side: _version(folder, side) for side in beside[each]} for each in pictures}
    beside = {each: [side for side, version in sides.items() if version is not None] for each, sides in found.items()}
    told = [pictures, versions, beside, [list(filter(None, sides.values())) for sides in found.values()], given]
    return storage.sha256(storage.canonical_json(told)), versions, beside


def _version(folder: str, name: str) -> str | None:
    try:
        return identify(storage.join(folder, name)).identity
    except DataError:
        return None


def _read(name: str, config: FolderSource, alone: str | None, part: tuple[Any, ...]) -> Output:
    pictures, beside, given, versions = part
    pairs: list[Mapping[str, Any]] = []
    fallen = Dropped()
    for picture, version in zip(pictures, versions, strict=True):
        url = f"file:{name}/{picture}"
        if version is None:
            fallen.add(pair_uid(url, ""), url, "damaged_file", "it cannot be read, or its name is no UTF-8")
            continue
        texts = _texts(config, picture, beside[picture], given.get(picture, []), alone)
        if not texts:
            fallen.add(
                pair_uid(url, ""),
                url,
                "text_empty",
                alone and f"{alone!r} is the only folder; captions: folder_name takes its name",
            )
            continue
        pairs.append(
            {
                "url": url,
                "text": texts[0][0],
                "text_origin": texts[0][1],
                "texts": texts,
                "page_url": "",
                "location": f"{name}/{picture}",
                "location_version": version,
            }
        )
    fate = Fate(len(pictures), len(pairs), fallen.counts())
    return Output({"kept": candidates(pairs), "dropped": fallen.table()}, {"pairs": fate})


def _says_nothing(config: FolderSource, pictures: Sequence[str]) -> str | None:
    """The name of the only folder that has pictures: "images" is no caption, unless the recipe says that it is."""
    folders = {posixpath.basename(posixpath.dirname(each)) for each in pictures} - {""}
    if config.captions != "auto" or config.text_template != "{}" or len(folders) != 1:
        return None
    return next(iter(folders))


def _texts(
    config: FolderSource, picture: str, beside: Sequence[str], given: Sequence[str], alone: str | None
) -> list[tuple[str, str]]:
    for side in beside:
        text = sidecar_text(side, storage.read_bytes(storage.join(config.path, side))[:_MAX_SIDECAR])
        if text:
            return [(text, "sidecar")]
    if given:
        return [(text, "table") for text in given]
    folder = posixpath.basename(posixpath.dirname(picture))
    if config.captions in ("auto", "folder_name") and folder and alone is None:
        return [(config.text_template.format(" ".join(folder.replace("_", " ").split())), "folder_name")]
    return []


def sidecar_text(name: str, data: bytes) -> str:
    """The caption in a .txt, .json or .caption file, the first of several; "" where there is none."""
    if not name.endswith(".json"):
        return " ".join(file_text(data).split())
    try:
        value = loaded(data)
    except ValueError:
        return ""
    if isinstance(value, dict):
        lower = {str(key).lower(): each for key, each in value.items()}
        value = next((lower[word] for word in (*TEXT_NAMES, "captions") if isinstance(lower.get(word), str | list)), "")
    if isinstance(value, list):
        value = next((each for each in value if isinstance(each, str) and each.strip()), "")
    return " ".join(value.split()) if isinstance(value, str) else ""

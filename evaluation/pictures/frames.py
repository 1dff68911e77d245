"""Short films for pm-k accuracy (Shankar et al. 2019, arXiv:1906.02168): ImageNet-Vid-Robust and YTBB-Robust.

A picture is a frame. Columns: `frame`, its key; `label`, the ids that count as right; `neighbours`, of an anchor the keys of
the frames that people found similar to it (empty for an anchor without, and for a frame that is no anchor); `anchor`, "yes" or
"no"; `of`, the anchors that a frame belongs to. pm-0 asks for the anchor, pm-10 for it and all its neighbours, each against
the labels that this reader gives to the frame (Vid) or to its anchor (YTBB), as imagenet-testbed scores them.
"""

from typing import Any

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures

LARGEST_OFFSET = 10


def _pictures(
    name: str, home: Folder, top: str, anchors: dict[str, list[str]], labels: dict[str, tuple[str, ...]]
) -> Pictures:
    """All frames that are an anchor or a neighbour, sorted by key. `anchors`: key -> keys of its neighbours."""
    owners: dict[str, list[str]] = {anchor: [anchor] for anchor in anchors}
    for anchor, neighbours in anchors.items():
        for frame in neighbours:
            owners.setdefault(frame, []).append(anchor)
    frames = sorted(owners)
    columns: dict[str, tuple[Any, ...]] = {
        "frame": tuple(frames),
        "label": tuple(labels[frame] for frame in frames),
        "anchor": tuple("yes" if frame in anchors else "no" for frame in frames),
        "neighbours": tuple(tuple(anchors.get(frame, ())) for frame in frames),
        "of": tuple(tuple(owners[frame]) for frame in frames),
    }
    return of_files(name, home, [f"{top}/{frame}".lstrip("/") for frame in frames], columns)


def _vid_robust(home: Folder, split: str) -> Pictures:
    """metadata/pmsets.json: anchor -> neighbours; metadata/labels.json: frame -> ids. Keys: val/ILSVRC2015_val_.../000432.JPEG"""
    below = "metadata/" if home.has("metadata/pmsets.json") else ""
    pmsets, labels = home.json(f"{below}pmsets.json"), home.json(f"{below}labels.json")
    try:
        anchors = {str(anchor): [str(frame) for frame in frames] for anchor, frames in pmsets.items()}
        needed = {*anchors, *(frame for frames in anchors.values() for frame in frames)}
        words = {frame: tuple(str(int(number)) for number in labels[frame]) for frame in needed}
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise Broken(
            f"{home.at(below)}: pmsets.json and labels.json do not fit each other ({str(error)[:80]})"
        ) from error
    return _pictures("imagenet-vid-robust/test", home, "", anchors, words)


VID_ROBUST = Reader(
    "imagenet-vid-robust",
    (("metadata/pmsets.json", "val"), ("pmsets.json", "val")),
    _vid_robust,
    ("test",),
    homes=("", "imagenet-vid-robust", "imagenet_vid_ytbb_robust/imagenet-vid-robust"),
)

BAD = {
    *("dissimilar", "problematic", "incorrect", "dont know", "deformation", "background-change", "occlusion-increased"),
    *("blur-increase", "bad-anchor"),
}
"""What reviewers ticked of a pair that does not count."""


def _key(path: str) -> str:
    """<video>_<milliseconds>/frame-<number>.jpg, whatever folders stand before."""
    return "/".join(path.split("/")[-2:])


def _reviewed(home: Folder, name: str) -> tuple[dict[str, set[str]], list[str]]:
    """Key -> what reviewers ticked; the last review of a key counts."""
    value = home.json(name)
    try:
        words = [str(word) for word in value["labels"]]
        return {str(each["key"]): {words[number] for number in each["labels"]} for each in value["annotations"]}, words
    except (KeyError, TypeError, IndexError) as error:
        raise Broken(f"{home.at(name)}: has no annotations with key and labels ({str(error)[:80]})") from error


def _ytbb_robust(home: Folder, split: str) -> Pictures:
    """anchor_labels.json and pmk_labels.json are what people said of anchors and of (anchor, frame) pairs; the csv has each
    anchor's first label, in which 22 and 23 stand the other way round than in ytbb_class_index.json."""
    below = "metadata/" if home.has("metadata/pmk_labels.json") else ""
    index = {str(word): str(number) for number, word in home.json(f"{below}ytbb_class_index.json").items()}
    first = _first_labels(home, f"{below}ytbb_robustness_test_anchors_full.csv")
    said, _ = _reviewed(home, f"{below}anchor_labels.json")
    pairs, _ = _reviewed(home, f"{below}pmk_labels.json")
    spoilt = {_key(pair.partition(",")[0]) for pair, words in pairs.items() if "bad-anchor" in words}
    anchors: dict[str, list[str]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for path, words in said.items():
        anchor = _key(path)
        if "good" not in words or {"bad", "unsure"} & words or anchor in spoilt:
            continue
        anchors[anchor] = []
        found = {index[word] for word in words if word in index} | first.get(anchor.split("/")[0], set())
        labels[anchor] = tuple(sorted(found, key=int))
    for pair, words in pairs.items():
        anchor, frame = (_key(path) for path in pair.split(",", 1))
        if (
            anchor in anchors
            and "similar" in words
            and not BAD & words
            and 0 < _offset(anchor, frame) <= LARGEST_OFFSET
        ):
            anchors[anchor].append(frame)
            labels.setdefault(frame, labels[anchor])
    top = next(
        (
            top
            for top in ("ytbb_videos", "ytbb-robust", "frames", "")
            if home.has(f"{top}/{next(iter(anchors), '')}".lstrip("/"))
        ),
        "",
    )
    return _pictures(
        "ytbb-robust/test", home, top, {key: sorted(frames) for key, frames in sorted(anchors.items())}, labels
    )


def _offset(anchor: str, frame: str) -> int:
    """Frames between them; more than any counts where they are not of one film."""
    try:
        numbers = [int(key.rpartition("-")[2].split(".")[0]) for key in (anchor, frame)]
    except ValueError:
        return LARGEST_OFFSET + 1
    return abs(numbers[0] - numbers[1]) if anchor.split("/")[0] == frame.split("/")[0] else LARGEST_OFFSET + 1


def _first_labels(home: Folder, name: str) -> dict[str, set[str]]:
    swapped = {"22": "23", "23": "22"}
    rows = home.rows(name, ["ytid", "time_ms", "label"])
    return {f"{row['ytid']}_{row['time_ms']}": {swapped.get(row["label"], row["label"])} for row in rows}


YTBB_ROBUST = Reader(
    "ytbb-robust",
    (("metadata/anchor_labels.json", "metadata/pmk_labels.json"), ("anchor_labels.json", "pmk_labels.json")),
    _ytbb_robust,
    ("test",),
    homes=("", "ytbb-robust", "imagenet_vid_ytbb_robust/ytbb-robust"),
)

"""The pictures that a run of the fetch benchmark made, and how far those of two runs are apart."""

import io
import json
import statistics
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def pictures_in(folder: Path) -> dict[str, bytes]:
    """The pictures of the shards below `folder`, by their number."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            members: dict[str, dict[str, bytes]] = {}
            for member in tar:
                key, _, kind = member.name.partition(".")
                members.setdefault(key, {})[kind] = tar.extractfile(member).read()  # type: ignore[union-attr]
        for kinds in members.values():
            url = json.loads(kinds["json"])["url"]
            found[url.rpartition("/")[2].partition(".")[0]] = kinds["jpg"]
    return found


def difference(left: dict[str, bytes], right: dict[str, bytes]) -> tuple[float, float]:
    """(mean absolute, largest) difference of decoded values 0..255, over the first 300 pictures of both sides."""
    means, most = [], 0.0
    for name in sorted(set(left) & set(right), key=int)[:300]:
        one, two = (np.asarray(Image.open(io.BytesIO(side[name])).convert("RGB"), np.float32) for side in (left, right))
        if one.shape != two.shape:
            raise SystemExit(f"picture {name}: {one.shape} and {two.shape}; no speed is reported")
        means.append(float(np.abs(one - two).mean()))
        most = max(most, float(np.abs(one - two).max()))
    return statistics.mean(means), most

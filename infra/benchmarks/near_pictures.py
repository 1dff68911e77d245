"""Which copies of pictures are found and what else is taken for one, beside imagededup's default (pHash within 10 bits).

    copies        NEAR_PICTURES photographs and figures of ../shared, each with every change of planted_variants.CHANGES:
                  share of the variants that are paired with their original, share of all pairs that are of one original
    recoloured    those of them that have colours, with their colours turned; drawn scenes of the demo web in every colour:
                  share that is paired with the original, and should not be
    distinct      all photographs and figures as they are, two by two; what shows one picture is listed in SAME

Ours is the configuration's default, then with thumbnails compared as they are, and not looked at.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import near_rows
from harness import peer, write_facts
from near_duplicates import IMAGEDEDUP, IMAGEDEDUP_NEEDS, IMAGEDEDUP_VERSION, asked
from planted_variants import CHANGES, RECOLOURED, everything, originals, write_scenes, write_variants

from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.hamming import near_pairs
from pipeline.duplicates.looks import looks_of

PICTURES, SCENES = (
    int(os.environ.get(f"NEAR_{name}", default)) for name, default in (("PICTURES", 600), ("SCENES", 100))
)
SETTINGS = {
    "ours": DeduplicateConfig(),
    "ours, thumbnails: plain": DeduplicateConfig(thumbnails="plain"),
    "ours, thumbnails: ignored": DeduplicateConfig(thumbnails="ignored"),
}
PEER = "imagededup, 10 bits"
Pairs = set[tuple[str, str]]
SAME = frozenset(
    frozenset(pair.split())
    for pair in (
        "6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c 637a56e4-7fa6-4f75-8859-0f8902461554",
        "OSC_Astro_01_04_Nebula OSC_Astro_20_02_Nebula",
        "OSC_Astro_01_07_Fornax OSC_Astro_28_01_Abell2744",
        "OSC_Astro_01_07_SShape OSC_Astro_25_05_Andromeda",
        "OSC_Astro_05_02_XRaysky OSC_Astro_20_06_Xray",
        "OSC_Astro_07_02_Jupiter OSC_Astro_11_01_Jupiter",
        "OSC_Astro_15_01_Sun OSC_Astro_16_03_Interior",
        "OSC_Astro_18_02_Brown OSC_Astro_21_01_Region",
        "OSC_Astro_18_04_Sirius OSC_Astro_23_01_SiriusB",
        "OSC_Astro_23_02_Explode OSC_Astro_29_01_Supernovae",
        "OSC_Astro_25_02_MWAnno OSC_Astro_26_02_Milky",
        "ANTHRO_Figure_01_04_009 ANTHRO_Figure_02_03_010",
    )
)
"""Pairs of the collections that show one picture, or all but one picture, twice: judged by eye among all that any setting or the
peer pairs. Diagrams that differ in their labels are not among them."""


def found(folder: Path, other: Any) -> dict[str, Pairs]:
    """The pairs of the pictures of a folder that look the same, by each setting and by the peer."""
    names, hashes, facts = near_rows.described(folder)
    pairs = {
        setting: {(names[a], names[b]) for a, b in near_pairs(hashes, config.radius, looks_of(config, facts)).tolist()}
        for setting, config in SETTINGS.items()
    }
    asked(other, do="encode", folder=str(folder))
    return {**pairs, PEER: {tuple(pair) for pair in asked(other, do="search", radius=10)["pairs"]}}


def with_original(pairs: Pairs, written: Mapping[str, tuple[int, str]], change: str) -> float:
    """The share of the variants of one change that are paired with their original."""
    hits = sum(
        written[a][0] == written[b][0] and sorted((written[a][1], written[b][1])) == ["", change] for a, b in pairs
    )
    return hits / sum(each == change for _, each in written.values())


def of_one(pairs: Pairs, written: Mapping[str, tuple[int, str]]) -> int:
    """How many pairs are of one original."""
    return sum(written[a][0] == written[b][0] for a, b in pairs)


def rows(folder: Path, other: Any) -> list[list[str]]:
    """The table: a row per question, a column for each of SETTINGS and one for the peer."""
    copies, recoloured, scenes, distinct = (folder / name for name in ("copies", "recoloured", "scenes", "distinct"))
    for each in (copies, recoloured, scenes, distinct):
        each.mkdir()
    table = []
    written = write_variants(originals(PICTURES), CHANGES, copies)
    pairs = found(copies, other)
    for change in CHANGES:
        table.append([f"{change}: found", *(f"{with_original(each, written, change):.3f}" for each in pairs.values())])
    shares = [of_one(each, written) / max(1, len(each)) for each in pairs.values()]
    table.append(["precision of all these pairs", *(f"{share:.4f}" for share in shares)])

    written = write_variants(originals(PICTURES), RECOLOURED, recoloured)
    pairs = found(recoloured, other)
    for change in RECOLOURED:
        shares = [with_original(each, written, change) for each in pairs.values()]
        table.append([f"{change}: taken for the original", *(f"{share:.3f}" for share in shares)])
    written = write_scenes(SCENES, scenes)
    pairs = found(scenes, other)
    every = len(written) * (len(written) // SCENES - 1) // 2
    shares = [of_one(each, written) / every for each in pairs.values()]
    table.append(["a drawn scene in two colours: taken for one", *(f"{share:.3f}" for share in shares)])

    paths = [path for group in everything() for path in group]
    write_variants(paths, {}, distinct)
    names = [path.stem for path in paths]
    met = {
        setting: {frozenset(names[int(name[:5])] for name in pair) for pair in each}
        for setting, each in found(distinct, other).items()
    }
    case = f"two of {len(paths):,} different pictures: taken for one"
    table.append([case, *(str(len(each - SAME)) for each in met.values())])
    table.append(
        [f"{len(SAME)} pairs there that show one picture: found", *(str(len(each & SAME)) for each in met.values())]
    )
    return table


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with peer(IMAGEDEDUP, IMAGEDEDUP_NEEDS, {}, folder) as other:
            table = rows(folder, other)
    data = f"{PICTURES} pictures of clothing-dataset-small and OpenStax, {len(CHANGES)} changes each"
    headings = ["what", *SETTINGS, PEER]
    write_facts("near_pictures", data, headings, table, {"imagededup": IMAGEDEDUP_VERSION})


if __name__ == "__main__":
    main()

"""Does the dataset depend on anything but its content? Curated again under other conditions, its manifest id must not change.

    workers     1, 2 and 4 work items at once
    shuffled    the candidates as tables, their files renamed and their rows in another order
    killed      ten runs: kill -9 of every process at a random moment, then the same command again

The web is the recipe smoke's, served on loopback.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from harness import write_facts

from pipeline.execution.ledger import PhaseResult

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", "0"))


def command(recipe: str, root: Path, *sets: str) -> list[str]:
    words = [sys.executable, "-m", "orchestration.cli", "curate", recipe, "--root", str(root), "--json"]
    return words + [word for each in sets for word in ("--set", each)]


def manifest_id(recipe: str, root: Path, *sets: str) -> str:
    done = subprocess.run(command(recipe, root, *sets), stdout=subprocess.PIPE, text=True, check=True)
    return str(json.loads(done.stdout)["manifest_id"])


def kill_after(seconds: float, root: Path) -> bool:
    """Start the run and kill it and all its children; False where it ended before."""
    process = subprocess.Popen(command("smoke", root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        pass
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for each in tree:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    return True


def tables(root: Path, folder: Path, seed: int) -> str:
    """The candidates of a finished run as CSV files in a random cut and order; returns a recipe that reads them."""
    pool = PhaseResult.load(str(next(root.glob("crawl-*")))).read_kept(["url", "text"]).to_pandas()
    draw = random.Random(seed)
    pool = pool.sample(frac=1.0, random_state=seed)
    folder.mkdir()
    names = draw.sample("abcdefghij", 5)
    for number, name in enumerate(names):
        pool.iloc[number::5].rename(columns={"text": "caption"}).to_csv(folder / f"{name}.csv", index=False)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "extends: smoke\nname: smoke\ncurate:\n  sources:\n    crawl: null\n"
        f"    table: {{kind: table, files: [{folder}/*.csv]}}\n",
        "utf-8",
    )
    return str(recipe)


def main() -> None:
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        below = Path(name)
        started = time.monotonic()
        ids = {
            workers: manifest_id("smoke", below / f"w{workers}", f"curate.workers={workers}") for workers in (1, 2, 4)
        }
        longest = (time.monotonic() - started) / 3
        wanted = ids[1]
        rows += [[f"{workers} workers", found[:16], word(found == wanted)] for workers, found in ids.items()]
        shuffled = [manifest_id(tables(below / "w1", below / f"t{n}", n), below / f"s{n}") for n in (1, 2, 3)]
        rows += [[f"tables, shuffle {n}", each[:16], word(each == shuffled[0])] for n, each in enumerate(shuffled, 1)]
        draw = random.Random(SEED)
        for number in range(KILLS):
            root, moment = below / f"killed{number}", draw.uniform(2.0, 0.9 * longest)
            while not kill_after(moment, root):  # it ended first, so nothing was tried
                shutil.rmtree(root)
                moment = draw.uniform(2.0, 0.9 * moment)
            found = manifest_id("smoke", root)
            rows.append(
                [f"killed after {moment:.1f} of {longest:.1f} s, then again", found[:16], word(found == wanted)]
            )
    write_facts("determinism", "the web of recipe smoke, on Ray", ["curated with", "manifest id", "same"], rows)
    if any(row[2] != "yes" for row in rows):
        raise SystemExit("a manifest id changed")


def word(same: bool) -> str:
    return "yes" if same else "NO"


if __name__ == "__main__":
    main()

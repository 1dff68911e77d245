"""The linear probe's solver beside scikit-learn's LogisticRegression, which is a dependency of ours too: same process, in turns.

1. Evaluations of loss and gradient until the objective is within 1e-6 of its optimum, penalties 1e4, 1e2, ..., 1e-4 (CLIP's first
   fits): ours one after the other, as a search solves them, and each from zero; scikit-learn's own loss under SciPy's L-BFGS-B as
   scikit-learn calls it (memory 10, raw features, at most 2,000), each from zero, as CLIP's search calls it, and from the last
   penalty's optimum, as its `warm_start` does. Both are counted until the gap is reached, which a solver that does not know the
   optimum cannot see; ours also until it stops by itself, its gradient having proved the gap.
2. CLIP's whole search (15 fits at most, final fit on all), 5,000 x 512 x 50, wall time: ours as `mode: exact` solves it (its fits
   to about 1e-3, those that may win and the final one to 1e-6); scikit-learn with its default tolerance on the same float32
   features, which stops early, and in float64 with a tolerance at which its final fit comes as near to the optimum as ours.
3. How near: the final fit's objective above the optimum.

    make bench NAME=probe                      # two cores, about 5 minutes
    python infra/benchmarks/probe.py --small   # a check of this script, seconds
    python infra/benchmarks/probe.py --gpu --size imagenet   # 1.28 M x 768 x 1000 on a GPU: prints, writes probe_gpu.json
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import scipy
import scipy.optimize
import sklearn
import torch
from harness import Row, paired, write, write_facts
from sklearn._loss.loss import HalfMultinomialLoss
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._linear_loss import LinearModelLoss
from threadpoolctl import threadpool_limits

from evaluation.probe import descent
from evaluation.probe.ladder import search_grid
from evaluation.probe.linear_probe import GRID, How, probe, validation_part
from evaluation.probe.path import predicted
from evaluation.probe.solver import Fit, Job, Solver

GAP = 1e-6
PENALTIES = (1e4, 1e2, 1.0, 1e-2, 1e-4)
POSITIONS = (80, 64, 48, 32, 16)
"""Of them in GRID."""
MOST = 2000
TIGHT = 1e-5
"""scikit-learn's tolerance, in float64, that brings its final fit within about 1e-6 of the optimum."""
WAYS = (
    ("one after the other", "each from zero"),
    ("one after the other", "with warm_start"),
    ("each from zero", "each from zero"),
)
"""What is compared: ours along the path with CLIP's recipe, and with scikit-learn's own starts from the last optimum."""
CLOTHES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "clothing-dataset-small"


def clip_like(
    count: int, width: int, classes: int, seed: int = 0, fall: float = 0.75, wrong: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes along axes of falling variance (deviation j^-fall, length 30), far from the origin: a transformer's cone.

    The flatter the spectrum, the less there is to gain by a preconditioner: `fall` 0.4 is there to show that. With a share of
    labels `wrong` a search has something to decide: without, all small penalties do equally well.
    """
    random = np.random.default_rng(seed)
    spread = np.arange(1, width + 1) ** -fall
    labels = random.permutation(np.arange(count) % classes)
    rows = (0.7 * random.normal(size=(classes, width))[labels] + random.normal(size=(count, width))) * spread
    rows *= 30 / np.sqrt((rows**2).sum(axis=1).mean())
    mean = random.normal(size=width)
    turn = np.linalg.qr(random.normal(size=(width, width)))[0]
    labels = np.where(random.random(count) < wrong, (labels + 1) % classes, labels)
    return (rows @ turn + mean * (8 / np.linalg.norm(mean))).astype(np.float32), labels


def relu_digits() -> tuple[np.ndarray, np.ndarray]:
    """Random ReLU features of 1,200 digits, 384 wide: mean of length 23 of 26."""
    pixels, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(64, 384)), 0.5 * random.normal(size=384)
    return np.maximum(pixels[:1200] / 16 @ weights + bias, 0).astype(np.float32), labels[:1200]


def clothes() -> tuple[np.ndarray, np.ndarray]:
    """Penultimate features of real pictures of clothes, from an untrained clip-tiny of ours."""
    from PIL import Image

    from training.data.transforms import evaluation_pixels
    from training.spec import build, get_spec

    files = sorted((CLOTHES / "train").rglob("*.jpg"))
    kinds = sorted({file.parent.name for file in files})
    spec = get_spec("clip-tiny").with_text(512, 32)
    torch.manual_seed(0)
    model = build(spec).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(files), 64):
            pixels = [evaluation_pixels(Image.open(file).convert("RGB"), spec) for file in files[start : start + 64]]
            rows.append(model.image_features(torch.stack(pixels)).float().numpy())
    return np.concatenate(rows), np.array([kinds.index(file.parent.name) for file in files])


def their_evaluations(
    rows: np.ndarray, labels: np.ndarray, penalty: float, best: float, start: np.ndarray | None = None
) -> tuple[int, np.ndarray]:
    """Evaluations until the objective is at most best (1 + GAP), MOST where that is never; and the weights there."""
    classes, count = int(labels.max()) + 1, len(rows)
    loss = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=classes), fit_intercept=True)
    values: list[float] = []
    if start is None:
        start = np.zeros(classes * (rows.shape[1] + 1))
    reached = start

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss.loss_gradient(flat, rows, labels.astype(np.float64), None, penalty / count, 2)
        values.append(value * count)
        return value, gradient

    def near(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal reached
        reached = intermediate_result.x.copy()
        if min(values) <= best * (1 + GAP):
            raise StopIteration

    options = {"maxiter": MOST, "maxfun": MOST, "maxls": 50, "gtol": 0.0, "ftol": 0.0}
    scipy.optimize.minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options, callback=near)
    near_enough = np.flatnonzero(np.array(values) <= best * (1 + GAP))
    return (int(near_enough[0]) + 1 if len(near_enough) else MOST), reached


def our_evaluations(rows: np.ndarray, labels: np.ndarray) -> tuple[dict[str, list[tuple[int, int]]], list[float]]:
    """Per way and penalty the evaluations until the gap is reached, and until the solver stops; and the optima."""
    solver = Solver([rows], labels[None], int(labels.max()) + 1, precision=torch.float64)
    path: dict[int, Fit] = {}
    told: dict[str, list[list[float]]] = {"one after the other": [], "each from zero": []}
    for position, penalty in zip(POSITIONS, PENALTIES, strict=True):
        path[position], values = watched(solver, Job(penalty, 0, predicted(path, position)))
        told["one after the other"].append(values)
        told["each from zero"].append(watched(solver, Job(penalty))[1])
    jobs = [Job(fit.penalty, 0, fit) for fit in path.values()]
    best = [fit.objective for fit in solver.solve(jobs, tolerance=1e-11, most_evaluations=MOST)]
    return {
        way: [
            (int(np.flatnonzero(np.array(values) <= value * (1 + GAP))[0]) + 1, len(values))
            for values, value in zip(each, best, strict=True)
        ]
        for way, each in told.items()
    }, best


def watched(solver: Solver, job: Job) -> tuple[Fit, list[float]]:
    """A fit, and the objective at each evaluation."""
    values: list[float] = []
    plain = descent.minimise

    def recording(evaluate, *rest):  # type: ignore[no-untyped-def]
        def told(which, points):  # type: ignore[no-untyped-def]
            found = evaluate(which, points)
            values.append(float(found[0][0]))
            return found

        return plain(told, *rest)

    descent.minimise = recording
    try:
        return solver.solve([job], tolerance=GAP)[0], values
    finally:
        descent.minimise = plain


def accuracy(right: np.ndarray, scores: np.ndarray) -> float:
    return float((right == scores.argmax(axis=1)).mean())


def their_search(rows: np.ndarray, labels: np.ndarray, tolerance: float) -> tuple[float, np.ndarray, np.ndarray]:
    """CLIP's search as its recipe says, raw features, no warm start: penalty, weights (D, C), intercept (C,)."""
    held_out = validation_part(labels, 0)

    def fit(x: np.ndarray, y: np.ndarray, at: int) -> LogisticRegression:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return LogisticRegression(C=1 / GRID[at], max_iter=1000, tol=tolerance).fit(x, y)

    def values(positions: list[int]) -> list[float]:
        models = [fit(rows[~held_out], labels[~held_out], at) for at in positions]
        return [float((model.predict(rows[held_out]) == labels[held_out]).mean()) for model in models]

    best, _ = search_grid(values)
    final = fit(rows, labels, best)
    return float(GRID[best]), final.coef_.T.astype(np.float64), final.intercept_.astype(np.float64)


def gap_of(
    rows: np.ndarray, labels: np.ndarray, penalty: float, weights: np.ndarray, intercept: np.ndarray, best: float
) -> float:
    """How far above the optimum, `best`, as a share of it."""
    given = Fit(0, penalty, weights, intercept, 0.0, 0.0, 0.0, 0, 0)
    logits = given.logits(rows)
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float((losses.sum() + penalty / 2 * (weights**2).sum()) / best - 1)


def wall(work) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def whole_searches(shape: tuple[int, int, int], peer: str, small: bool) -> list[Row]:
    """CLIP's search, ours beside scikit-learn's two ways; the penalty that each chose is a row."""
    rows, labels = clip_like(*shape, wrong=0.1)
    doubled, asked, table = rows.astype(np.float64), rows[:10], []
    optima: dict[float, float] = {}

    def gap(found: tuple[float, np.ndarray, np.ndarray]) -> float:
        if found[0] not in optima:
            solver = Solver([rows], labels[None], int(labels.max()) + 1, precision=torch.float64)
            optima[found[0]] = solver.solve([Job(found[0])], tolerance=1e-11, most_evaluations=MOST)[0].objective
        return max(gap_of(rows, labels, *found, optima[found[0]]), 1e-12)

    for theirs, tolerance, threads, words, turns in (
        (rows, 1e-4, None, "float32, its default tolerance 1e-4", 3),
        (rows, 1e-4, 1, "float32, its default tolerance 1e-4, one thread, which is faster", 3),
        (doubled, TIGHT, 1, f"float64, tolerance {TIGHT:g}, one thread, which is faster", 1),
    ):
        found: dict[str, tuple[float, np.ndarray, np.ndarray]] = {}

        def mine(found=found) -> None:  # type: ignore[no-untyped-def]
            done = probe(rows, labels, asked, accuracy, 0, How())
            found["ours"] = done.fit.penalty, done.fit.weights, done.fit.intercept

        def other(found=found, theirs=theirs, tolerance=tolerance, threads=threads) -> None:  # type: ignore[no-untyped-def]
            with threadpool_limits(threads):
                found["theirs"] = their_search(theirs, labels, tolerance)

        seconds = paired(lambda work=mine: wall(work), lambda work=other: wall(work), 1 if small else turns)  # type: ignore[misc]
        case = f"CLIP's search, {' x '.join(map(str, shape))}, beside {words}"
        table.append(Row(case, "wall time", "s", *seconds, peer, higher_is_better=False))
        gaps = [gap(found[who]) for who in ("ours", "theirs")]
        table.append(Row(case, "final fit above its optimum", "", *gaps, peer, higher_is_better=False))
        chosen = [found[who][0] for who in ("ours", "theirs")]
        table.append(Row(case, "penalty chosen", "", chosen[0], chosen[1], peer, higher_is_better=False))
        print(words, seconds, gaps, "penalties", found["ours"][0], found["theirs"][0], flush=True)
    return table


def on_cpu(small: bool) -> None:
    peer = "scikit-learn"
    sets = {
        "CLIP-like 2,000 x 256 x 20": clip_like(2000, 256, 20),
        "flat spectrum 2,000 x 256 x 20": clip_like(2000, 256, 20, fall=0.4),
        "digits, ReLU features 1,200 x 384 x 10": relu_digits(),
    }
    if CLOTHES.exists() and not small:
        rows, labels = clothes()
        sets[f"clothing pictures, untrained clip-tiny {len(rows):,} x {rows.shape[1]} x {labels.max() + 1}"] = (
            rows,
            labels,
        )
    if small:
        sets = {"small": clip_like(300, 32, 5)}
    table = []
    for name, (rows, labels) in sets.items():
        rows = rows.astype(np.float64)
        ours, best = our_evaluations(rows, labels)
        theirs, last = {"each from zero": 0, "with warm_start": 0}, None
        with threadpool_limits(1):  # they are counted, not timed
            for penalty, value in zip(PENALTIES, best, strict=True):
                theirs["each from zero"] += their_evaluations(rows, labels, penalty, value)[0]
                evaluations, last = their_evaluations(rows, labels, penalty, value, last)
                theirs["with warm_start"] += evaluations
        print(name, ours, "scikit-learn", theirs, flush=True)
        for words, beside in WAYS:
            counts = ours[words]
            for which, metric in (
                (0, f"evaluations to a gap of {GAP:g}"),
                (1, "the same, ours until it stops by itself"),
            ):
                total = sum(each[which] for each in counts)
                case = f"{name}, five penalties {words}, beside theirs {beside}"
                table.append(Row(case, metric, "", total, theirs[beside], peer, higher_is_better=False))
    table += whole_searches((300, 32, 5) if small else (5000, 512, 50), peer, small)
    if not small:
        versions = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "torch": torch.__version__}
        write("probe", f"{torch.get_num_threads()} threads unless said; features made by seed 0", table, versions)
    else:
        for row in table:
            print(row, round(row.ratio, 2))


def on_gpu(size: str, device: str) -> None:
    """CLIP's search on features that were made on the device; what is timed is search and final fit."""
    count, width, classes = (1_281_167, 768, 1000) if size == "imagenet" else (20_000, 64, 50)
    torch.manual_seed(0)
    centres = torch.randn(classes, width, device=device) * torch.arange(1, width + 1, device=device) ** -0.4
    labels = torch.randint(classes, (count,), device=device)
    rows = np.empty((count, width), np.float32)
    for start in range(0, count, 1 << 16):
        here = slice(start, start + (1 << 16))
        noise = torch.randn(len(labels[here]), width, device=device) * torch.arange(1, width + 1, device=device) ** -0.4
        rows[here] = (0.35 * centres[labels[here]] + noise + 0.5).cpu().numpy()
    began = time.perf_counter()
    done = probe(rows, labels.cpu().numpy(), rows[:1000], accuracy, 0, How(device=device))
    seconds = time.perf_counter() - began
    table = [[f"{count:,} x {width} x {classes}", len(done.search), sum(each.iterations for each in done.search),
              done.fit.evaluations, f"{done.fit.penalty:.3g}", f"{done.fit.gap_bound / done.fit.objective:.1e}", f"{seconds:.0f}"]]  # fmt: skip  # noqa: E501
    headings = ["Features", "Fits", "Evaluations", "of the final fit", "lambda", "Certified gap", "Seconds"]
    name = torch.cuda.get_device_name() if device == "cuda" else device
    if device == "cuda":
        write_facts("probe_gpu", f"CLIP's whole search, float32, {name}", headings, table, {"torch": torch.__version__})
    else:
        print(headings, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--size", choices=["small", "imagenet"], default="small")
    asked = parser.parse_args()
    if asked.gpu:
        on_gpu(asked.size, "cuda" if torch.cuda.is_available() else "cpu")
    else:
        on_cpu(asked.small)


if __name__ == "__main__":
    main()

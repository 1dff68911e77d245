"""How fast pictures went through each model last time: what a plan's minutes are reckoned from. Part of no result."""

from pipeline import storage

NAME = "rates.json"


def remember(folder: str, model: str, pictures: int, seconds: float) -> None:
    """Note the pace of this model; fewer than a hundred pictures tell too little."""
    if pictures >= 100 and seconds > 0:
        storage.write_json(storage.join(folder, NAME), _read(folder) | {model: round(pictures / seconds, 2)})


def known(folder: str, model: str) -> float | None:
    """Pictures a second, a corrupted one counted like any other, None where this model made no features here yet."""
    return _read(folder).get(model)


def _read(folder: str) -> dict[str, float]:
    path = storage.join(folder, NAME)
    try:
        return dict(storage.read_json(path)) if storage.exists(path) else {}
    except ValueError:
        return {}

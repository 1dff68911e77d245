"""numpy's .npy files of benchmarks: mapped from a local disk, read whole from elsewhere; never unpickled."""

import io
from typing import Any

import numpy as np

from evaluation.pictures.folder import Folder
from evaluation.pictures.pictures import Broken
from pipeline import storage


def rows_of(folder: Folder, name: str, dimensions: int, count: int | None = None) -> Any:
    """The array of integers in the file. Raises Broken for another type, shape, or a file that ends too soon."""
    path = folder.at(name)
    folder.size(name)  # says that it is missing
    try:
        if storage.is_local(path):
            rows = np.load(path.removeprefix("file://"), mmap_mode="r", allow_pickle=False)
        else:
            rows = np.load(io.BytesIO(folder.read(name)), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise Broken(f"{path}: is no whole numpy file of plain numbers ({str(error)[:80]}); get it anew") from error
    if rows.ndim != dimensions or rows.dtype.kind not in "iu":
        raise Broken(f"{path}: holds {rows.dtype} {rows.shape}, not integers in {dimensions} dimensions")
    if count is not None and len(rows) != count:
        raise Broken(f"{path}: has {len(rows):,} pictures and {count:,} labels")
    return rows

"""Names of the tensors in a Hugging Face folder, where a configuration does not tell which parts there are. Of safetensors the
header is read, of an index its table; a torch archive must be read whole.
"""

import json

from pipeline import storage
from pipeline.errors import DataError

HUGGINGFACE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
"""Files of weights, the first that is there counts."""
MOST_HEADER_BYTES = 100_000_000
"""safetensors' own limit."""


def tensor_names(folder: str) -> frozenset[str]:
    """Raises DataError where they cannot be read."""
    found = next((name for name in HUGGINGFACE if name in storage.list_names(folder)), "")
    path = storage.join(folder, found)
    if found.endswith(".index.json"):
        return frozenset(storage.read_json(path)["weight_map"])
    if not found.endswith(".safetensors"):
        from training.foreign.files import read_tensors

        return frozenset(read_tensors(folder, (found,)))
    filesystem, place = storage.filesystem_of(path)
    with filesystem.open(place, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= MOST_HEADER_BYTES else b""
    try:
        return frozenset(json.loads(text))
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as weights (no safetensors header); save it as safetensors") from error

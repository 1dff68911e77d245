"""Pictures of one class's shape in another's texture (Geirhos et al. 2019; rgeirhos/texture-vs-shape, stimuli/).

<shape>/<shape><number>-<texture><number>.png, such as airplane/airplane1-bicycle2.png
"""

import re
from dataclasses import replace

from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import by_class
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures

HOMES = ("", "style-transfer-preprocessed-512", "stimuli/style-transfer-preprocessed-512")
NAME = re.compile(r"(?P<shape>[a-z]+)\d+-(?P<texture>[a-z]+)\d+\.\w+")


def _open(home: Folder, split: str) -> Pictures:
    shapes = home.folders()
    names = [name for shape in shapes for name in home.pictures(shape)]
    pictures = by_class(f"cue-conflict/{split}", home, shapes)
    textures = []
    for name in names:
        folder, _, file = name.partition("/")
        found = NAME.fullmatch(file)
        if not found or found["shape"] != folder or found["texture"] not in shapes:
            raise Broken(
                f"{home.at(name)}: is not called <shape><number>-<texture><number> after two of the {len(shapes)} folders"
            )
        textures.append(found["texture"])
    return replace(pictures, columns={**pictures.columns, "texture": tuple(textures)})


CUE_CONFLICT = Reader("cue-conflict", (("airplane/*", "keyboard/*", "oven/*"),), _open, ("test",), HOMES)

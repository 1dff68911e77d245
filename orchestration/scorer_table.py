"""The scorers that have a word, and the functions that make them.

The step `score` counts as changed when this module, or whatever a string in it leads to, changes: it imports nothing else.
A scorer of one's own needs no line here: a recipe may say `scorer: my_package.my_module:make`.
"""

from collections.abc import Mapping

PHASE = "pipeline.scoring.score:score"

SCORERS: Mapping[str, str] = {
    "aesthetics": "evaluation.models.scorers:aesthetics",
    "clip_similarity": "evaluation.models.scorers:clip_similarity",
    "nsfw": "evaluation.models.scorers:nsfw",
    "watermark": "evaluation.models.scorers:watermark",
}

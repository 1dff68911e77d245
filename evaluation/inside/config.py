"""The `evaluate.inside` section of a recipe: how much the protocol `inside` looks at."""

from pydantic import Field

from pipeline.settings import Settings


class InsideConfig(Settings):
    """How many pictures are looked at, and how many are shown."""

    attention_pictures: int = Field(64, ge=1)
    """Pictures that attention distances are averaged over; the paper takes 128."""
    shown_pictures: int = Field(8, ge=0)
    """Pictures that are shown with the attention that reaches their answer."""
    mistakes: int = Field(12, ge=0)
    """Most confident wrong answers that are shown, and as many of the classes most often confused."""
    map_pictures: int = Field(400, ge=10)
    """Pictures on the 2-D map of features."""

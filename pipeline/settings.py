"""The base of every configuration model: frozen, unknown keys refused, a line of text under each field."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of a recipe. Values are validated once, when the recipe is loaded, and never change afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

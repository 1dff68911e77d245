"""What a recipe says about fetching: the form of stored pictures, and how the work is cut; light to import."""

from pydantic import Field, field_validator

from pipeline.pictures.picture_config import PictureConfig


class FetchConfig(PictureConfig):
    """How pictures are downloaded, and which are kept in which form."""

    lanes: int = Field(64, ge=1)
    """Parts that hosts are spread over, a power of two; all pictures of a host are in one, so that its limits hold."""
    lanes_at_once: int = Field(24, ge=2)
    """Lanes that one worker has under way, so that neither silent hosts nor the slow end of one leave it idle."""
    rows_per_item: int = Field(256, ge=1)
    """Rows of one file of fetched pictures: what is in memory at once."""
    retry_round: int = Field(0, ge=0)
    """Raise it by one to try again what failed for a passing reason (timeouts, unreachable hosts, 5xx); nothing else is
    downloaded again."""

    @field_validator("lanes")
    @classmethod
    def _power_of_two(cls, lanes: int) -> int:
        if lanes & (lanes - 1):
            raise ValueError(f"{lanes} is no power of two; write {1 << lanes.bit_length()}")
        return lanes

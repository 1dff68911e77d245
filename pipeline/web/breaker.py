"""The circuit breaker of one host: what fails time after time is rested, each time twice as long, then given up."""

from dataclasses import dataclass

from pipeline.web.web_config import NetworkConfig


@dataclass(slots=True)
class Breaker:
    """How a host has failed of late; whoever asks it counts the failures and says when they are too many."""

    failures: int = 0  # in a row
    rests: int = 0  # in a row
    rested_at: float = 0.0  # what was sent before says nothing new: one rest for all that was under way

    def mend(self) -> None:
        """It answers."""
        self.failures = self.rests = 0

    def rest_until(self, config: NetworkConfig, now: float) -> float | None:
        """Begin a rest, and when it ends; None where it has had enough of them."""
        self.rests, self.rested_at = self.rests + 1, now
        return None if self.rests > config.retries else now + config.host_rest_seconds * 2 ** (self.rests - 1)

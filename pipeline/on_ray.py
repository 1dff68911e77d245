"""The pipeline's one door to Ray: the executor that schedules work items as Ray tasks.

Ray only schedules. An item whose worker dies is tried again by Ray a few times; what finished is in the ledger.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from pipeline.errors import ConfigError, DataError
from pipeline.executor import Item, Result


class OnRay:
    """Executor on the Ray cluster this process is connected to; at most `in_flight` items are queued at once."""

    def __init__(
        self,
        cpus_per_item: float = 1.0,
        in_flight: int | None = None,
        retries: int = 3,
        gpus_per_item: float = 0.0,
        memory_bytes_per_item: int = 0,
    ) -> None:
        self.cpus_per_item = cpus_per_item
        self.gpus_per_item = gpus_per_item
        self.memory_bytes_per_item = memory_bytes_per_item
        self.in_flight = in_flight
        self.retries = retries

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "OnRay":
        """The same executor for items that need so much each."""
        return OnRay(cpus, self.in_flight, self.retries, gpus, memory_bytes)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yields (position, result) in the order of completion.

        Raises: whatever `function` raised (a UserError stays one); DataError when an item's worker died every time.
        """
        # max_retries covers dead workers and nodes only; an exception of ours is an answer and is not tried again.
        needs: dict[str, Any] = {"num_cpus": self.cpus_per_item}
        if self.gpus_per_item:
            needs["num_gpus"] = self.gpus_per_item
        if self.memory_bytes_per_item:
            needs["memory"] = self.memory_bytes_per_item
        task: Any = ray.remote(**needs, max_retries=self.retries)(_call)
        limit = self.in_flight or max(4, 2 * int(ray.cluster_resources().get("CPU", 1) / self.cpus_per_item))
        largest = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if self.cpus_per_item > largest:  # Ray would wait for ever, and say nothing
            raise ConfigError(
                f"curate.cpus_per_item is {self.cpus_per_item:g} and no node has more than {largest:g} CPUs; lower it"
            )
        self._require("GPU", self.gpus_per_item, "GPUs")
        self._require("memory", self.memory_bytes_per_item, "bytes of memory")
        function_ref = ray.put(function)
        waiting = iter(enumerate(items))
        running: dict[ray.ObjectRef, int] = {}
        try:
            while True:
                for position, item in waiting:
                    running[task.remote(function_ref, item)] = position
                    if len(running) >= limit:
                        break
                if not running:
                    return
                for done in ray.wait(list(running), num_returns=1)[0]:
                    position = running.pop(done)
                    try:
                        result = ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause if isinstance(error.cause, Exception) else error from None
                    except ray.exceptions.RayError as error:
                        raise DataError(
                            f"work item {position}: its Ray worker died {self.retries + 1} times"
                            f" ({type(error).__name__}); look at the Ray logs, lower the item size, and run again"
                        ) from error
                    yield position, result
        finally:
            for reference in running:
                ray.cancel(reference, force=False)

    def _require(self, resource: str, wanted: float, unit: str) -> None:
        largest = max((node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if wanted > largest:
            raise ConfigError(
                f"curate.score: a work item wants {wanted:g} {unit} and no node has more than {largest:g}; "
                "use a smaller model, fewer gpus or a larger node"
            )


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)

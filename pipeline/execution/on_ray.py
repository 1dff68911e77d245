"""The pipeline's one door to Ray: executors that schedule work items as Ray tasks, or on actors that stay.

Ray only schedules. An item whose worker or node dies is tried again a few times; what finished is on storage.
`OnRay` is for a cluster, which may grow and is shared with others: tasks, and actors for one `map`. `Crew` is for a Ray that is
ours alone: the same actors for every `map`, since a worker process costs 0.9 s of CPU time to start and import.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from pipeline.errors import ConfigError, DataError
from pipeline.execution.arenas import ONE_ARENA, share_arenas, without_pandas
from pipeline.execution.executor import IDLE_SECONDS, Idle, Item, Result

THREADS = 32
"""Items that an actor of a crew can hold at once, where a map does not ask for more."""


class OnRay:
    """Executor on the Ray cluster this process is connected to; at most `in_flight` items are queued at once, or
    that many actors stay."""

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

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int = 1,
        idle: Idle | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Yields (position, result) in the order of completion.

        Raises: whatever `function` raised (a UserError stays one); DataError when an item's worker died every time.
        """
        self.check()
        if at_once == 1:
            yield from self._run(_Tasks(function, self), items, idle)
            return
        pool = _Pool(self, at_once)
        try:
            yield from self._run(_Actors(function, pool, self, at_once, len(items)), items, idle)
        finally:
            pool.close()

    def close(self) -> None:
        """Nothing stays here from one `map` to the next."""

    def check(self) -> None:
        """Raises ConfigError where no node has what an item needs: Ray would wait for ever, and say nothing."""
        largest = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if self.cpus_per_item > largest:
            raise ConfigError(
                f"curate.cpus_per_item is {self.cpus_per_item:g} and no node has more than {largest:g} CPUs; lower it"
            )
        self._require("GPU", self.gpus_per_item, "GPUs")
        self._require("memory", self.memory_bytes_per_item, "bytes of memory")

    def _require(self, resource: str, wanted: float, unit: str) -> None:
        largest = max((node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if wanted > largest:
            raise ConfigError(
                f"curate.score: a work item wants {wanted:g} {unit} and no node has more than {largest:g}; "
                "use a smaller model, fewer gpus or a larger node"
            )

    def needs(self) -> dict[str, Any]:
        """What Ray sets aside for one item."""
        wanted = {"num_gpus": self.gpus_per_item, "memory": self.memory_bytes_per_item}
        return {"num_cpus": self.cpus_per_item, **{name: value for name, value in wanted.items() if value}}

    def places(self) -> int:
        """How many items of `cpus_per_item` the cluster has room for."""
        return max(1, int(ray.cluster_resources().get("CPU", 1) / self.cpus_per_item))

    def _run(self, workers: Any, items: Sequence[Any], idle: Idle | None) -> Iterator[tuple[int, Any]]:
        waiting = list(range(len(items)))[::-1]
        deaths = dict.fromkeys(waiting, 0)
        running: dict[ray.ObjectRef, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers.limit:
                    position = waiting.pop()
                    running[workers.start(items[position])] = position
                found, _ = ray.wait(list(running), num_returns=1, timeout=IDLE_SECONDS)
                if not found and idle is not None:
                    idle()
                for reference in found:
                    position = running.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause if isinstance(error.cause, Exception) else error from None
                    except ray.exceptions.RayError as error:
                        workers.lost(reference)
                        deaths[position] += 1
                        if deaths[position] > workers.retries:
                            raise DataError(
                                f"work item {position}: its Ray worker died {self.retries + 1} times"
                                f" ({type(error).__name__}); look at the Ray logs, lower the item size, and run again"
                            ) from error
                        waiting.append(position)
                        continue
                    workers.finished(reference)
                    yield position, result
        finally:
            workers.close(list(running))


class _Tasks:
    """A Ray task per item; Ray itself tries again what a dead worker held."""

    def __init__(self, function: Callable[[Any], Any], executor: OnRay) -> None:
        # max_retries covers dead workers and nodes only; an exception of ours is an answer and is not tried again.
        self._task: Any = ray.remote(**executor.needs(), max_retries=executor.retries)(_call)
        self._function = ray.put(function)
        self.retries = 0
        self.limit = executor.in_flight or max(4, 2 * executor.places())

    def start(self, item: Any) -> ray.ObjectRef:
        return self._task.remote(self._function, item)

    def lost(self, reference: ray.ObjectRef) -> None:
        """Nothing is held."""

    finished = lost

    def close(self, running: Sequence[ray.ObjectRef]) -> None:
        for reference in running:
            ray.cancel(reference, force=False)


class Crew(OnRay):
    """OnRay with actors that stay from one `map` to the next, until `close`, and do every item, also where few are held at once.

    They hold their CPUs until then: whatever else wants some on this Ray would wait for ever.
    """

    _pool: "_Pool | None" = None

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> OnRay:
        """Tasks that need so much each; the actors end, so that there is room."""
        self.close()
        return super().with_resources(cpus, gpus, memory_bytes)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int = 1,
        idle: Idle | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Like OnRay's."""
        self.check()
        if self._pool is not None and self._pool.threads < at_once:
            self.close()
        if self._pool is None:
            self._pool = _Pool(self, max(at_once, THREADS))
        whole = False
        try:
            yield from self._run(_Actors(function, self._pool, self, at_once, len(items)), items, idle)
            whole = True
        finally:
            if not whole:
                self.close()  # what still runs belongs to a map that has failed

    def close(self) -> None:
        """End the actors; the next `map` starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


@dataclass(eq=False)
class _Actor:
    handle: Any
    held: set[ray.ObjectRef] = field(default_factory=set)


class _Pool:
    """Actors, each with `threads` threads; the dead are taken out."""

    def __init__(self, executor: OnRay, threads: int) -> None:
        self.threads = threads
        self.actors: list[_Actor] = []
        self._options = {**executor.needs(), "max_concurrency": threads, "max_restarts": 0}
        if ONE_ARENA not in os.environ:  # an embedded Ray has it for all its processes, which costs nothing
            # Threads of a Ray worker have heaps before anything of ours runs: 85 MB more in each worker of a fetch.
            self._options["runtime_env"] = {"env_vars": {ONE_ARENA: "1"}}

    def add(self) -> _Actor:
        actor = _Actor(ray.remote(_Holder).options(**self._options).remote())
        self.actors.append(actor)
        return actor

    def remove(self, actor: _Actor) -> None:
        if actor in self.actors:
            self.actors.remove(actor)
            ray.kill(actor.handle)  # a node cut off may still have it

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor.handle)
        self.actors = []


class _Actors:
    """One map's use of a pool: as many actors as there are places, each with up to `at_once` items; dead ones are replaced."""

    def __init__(self, function: Callable[[Any], Any], pool: _Pool, executor: OnRay, at_once: int, items: int) -> None:
        self._function = ray.put(function)
        self._pool = pool
        self._most = min(executor.places(), items, executor.in_flight or items)
        self._holder: dict[ray.ObjectRef, _Actor] = {}
        self.retries = executor.retries
        self.limit = self._most * at_once

    def start(self, item: Any) -> ray.ObjectRef:
        """On the actor that holds fewest items."""
        actor = min(self._pool.actors, key=lambda each: len(each.held), default=None)
        if actor is None or (actor.held and len(self._pool.actors) < self._most):
            actor = self._pool.add()
        reference = actor.handle.call.remote(self._function, item)
        actor.held.add(reference)
        self._holder[reference] = actor
        return reference

    def finished(self, reference: ray.ObjectRef) -> None:
        self._holder.pop(reference).held.discard(reference)

    def lost(self, reference: ray.ObjectRef) -> None:
        """Its actor is gone, with all that it held; they come as lost one by one."""
        actor = self._holder.pop(reference)
        actor.held.discard(reference)
        self._pool.remove(actor)

    def close(self, running: Sequence[ray.ObjectRef]) -> None:
        """The pool's owner ends them."""


class _Holder:
    """The actor: a process that stays."""

    def __init__(self) -> None:
        share_arenas()
        without_pandas()

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return function(item)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)

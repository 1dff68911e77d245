"""The peer of near_duplicates: imagededup's PHash, its own search (BruteForceCython, its default, and BKTree) in one process.

imagededup imports torch and torchvision for its CNN when it is imported; the hashes use neither, so stand-ins are enough.
Answers: encode (hash the order's folder, or the job's), search (all pairs of the hashes given), query (a few against many).
"""

import importlib.abc
import importlib.machinery
import json
import logging
import resource
import sys
import types
import warnings

import numpy as np


class Names(type):
    """A class that has every attribute: each is a class like it."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Names(name, (Nothing,), {})


class Nothing(metaclass=Names):
    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        return Nothing()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


class StandIn(types.ModuleType):
    """A module that has every name."""

    __path__ = ()

    def __getattr__(self, name):
        return getattr(Nothing, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


def load():
    sys.meta_path.insert(0, Finder())
    warnings.simplefilter("ignore")
    from imagededup.handlers.search.brute_force_cython import BruteForceCython
    from imagededup.methods import PHash

    logging.disable(logging.CRITICAL)
    return PHash, BruteForceCython


def cpu():
    """CPU seconds of this process and of the pool that imagededup makes even for one worker."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def pairs_of(found):
    return sorted({tuple(sorted((name, other))) for name, others in found.items() for other in others})


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    phash, brute_force = load()
    hasher = phash(verbose=False)
    encodings = {}
    for line in sys.stdin:
        order, answer = json.loads(line), {}
        start = cpu()
        if order["do"] == "encode":
            encodings = hasher.encode_images(image_dir=order.get("folder") or job["folder"], num_enc_workers=0)
            answer["count"] = len(encodings)
        elif order["do"] == "search":
            if "hashes" in job and order.get("count"):
                values = np.load(job["hashes"])[: order["count"]]
                encodings = {str(number): f"{int(value):016x}" for number, value in enumerate(values)}
            start = cpu()
            found = hasher.find_duplicates(
                encoding_map=encodings,
                max_distance_threshold=order["radius"],
                search_method=order.get("method", "brute_force_cython"),
                num_dist_workers=0,
            )
            answer["seconds"] = cpu() - start
            answer["pairs"] = pairs_of(found)
        elif order["do"] == "query":
            values = np.load(job["hashes"])[: order["count"]]
            encodings = {str(number): f"{int(value):016x}" for number, value in enumerate(values)}
            searcher = brute_force(encodings, hasher.hamming_distance)
            start = cpu()
            for number in range(order["queries"]):
                searcher.search(encodings[str(number)], order["radius"])
        answer.setdefault("seconds", cpu() - start)
        print(json.dumps(answer), flush=True)


main()

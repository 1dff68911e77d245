"""The peer of fetch: img2dataset's own `download`, with its defaults but for what the job says.

Runs in an environment with img2dataset alone, or with Ray where the job names `cpus`: then each download starts an embedded
Ray of so many first, with the options and the few services that ours starts.

Each line of stdin is a JSON {"urls": parquet, "folder": ...}; the answer has the seconds that all of it took. To {} the answer
is {}, once all is imported.
"""

import json
import os
import sys
import time

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # this file has its name


def embedded(cpus):
    """Start Ray as orchestration/cluster.py does."""
    import ray
    from ray._private.node import Node

    for service in ("start_monitor", "start_log_monitor", "start_api_server"):
        setattr(Node, service, lambda self, *arguments, **named: None)
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=40,
        object_store_memory=1 << 30,
        _node_ip_address="127.0.0.1",
    )


def main():
    from img2dataset import download

    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    cpus = job.get("cpus")
    if cpus:
        import ray
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints is no answer
    for line in sys.stdin:
        wish = json.loads(line)
        if not wish:
            print("{}", file=replies, flush=True)
            continue
        start = time.perf_counter()
        if cpus:
            embedded(cpus)
        download(
            url_list=wish["urls"],
            output_folder=wish["folder"],
            input_format="parquet",
            url_col="url",
            caption_col="caption",
            output_format="webdataset",
            enable_wandb=False,
            **job["options"],
        )
        seconds = time.perf_counter() - start
        if cpus:
            ray.shutdown()
        print(json.dumps({"seconds": seconds}), file=replies, flush=True)


if __name__ == "__main__":
    main()

"""cc2dataset's half of the benchmark extraction: its function on the same WAT bytes, without Spark."""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

from cc2dataset.main import extract_documents_from_wat
from loguru import logger


def main() -> None:
    logger.remove()
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    data = {name: Path(path).read_bytes() for name, path in job["files"].items()}
    for line in sys.stdin:
        word, name = line.split()
        start = time.process_time()
        found = extract_documents_from_wat(BytesIO(data[name]), "image")
        answer = {"seconds": time.process_time() - start, "count": len(found)}
        if word == "pairs":
            answer["pairs"] = sorted([link["page_url"], link["url"], link["alt"]] for link in found)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

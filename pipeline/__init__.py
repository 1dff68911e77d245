"""Raw web to Manifest: crawl, filter, match, balance, fetch, deduplicate, decontaminate, pack."""

__version__ = "0.1.0"

import os

# Arrow's own allocator keeps what each thread once used: 200 MB in a worker that writes 4 MB at a time (measured). To be
# said before pyarrow is first imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

"""Raw web to Manifest: crawl, filter, match, balance, fetch, deduplicate, decontaminate, pack."""

__version__ = "0.1.0"

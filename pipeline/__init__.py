"""Raw web to Manifest: crawl, filter, match, balance, fetch, deduplicate, decontaminate, pack."""

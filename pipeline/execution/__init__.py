"""How work is done: items, ledger, executors, exchange, and the sandbox for hostile bytes."""

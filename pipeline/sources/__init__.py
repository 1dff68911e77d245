"""Sources: where candidate pairs come from, one file per kind, all giving rows of sample.CANDIDATE.

    site.py  live sites       wat.py, warc.py  crawls' files      table.py  URL tables
    folder.py, shards.py  pictures that lie on storage already, so that nothing is downloaded

To add one: a model in config.py with its `kind`, a file with `harvest_<kind>`, and a line in harvest.py.
"""

"""The demo web: a small, known internet made at run time, with every defect of the real one planted in a counted number.

config.py     DemoWebConfig: how much of everything, and every planted number
digits.py     scikit-learn's handwritten digits as little photos, with captions
scenes.py     shape x colour x texture x place, drawn, with captions
crowd.py      the rule that no two pictures look alike unless one was planted as a copy
encodings.py  the files: JPEG, PNG, WebP, and the odd and broken ones
texts.py      the query list and the texts that curation has to refuse
cast.py       who plays what: every picture, its text, its file and its fate
pages.py      the HTML around them, robots.txt, sitemap.xml
site.py       build_site: puts the whole web into a folder
server.py     serves that folder on loopback, misbehaving where planned
"""

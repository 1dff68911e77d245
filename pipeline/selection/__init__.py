"""Which candidate pairs are worth downloading: text rules, query matches, balance."""

"""Features made once and kept: every protocol is a function of them."""

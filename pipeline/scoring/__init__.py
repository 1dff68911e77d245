"""Numbers that models give a pair, and the pairs that fall by them."""

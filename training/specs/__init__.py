"""Models as data: one file per family, its sizes and their costs in closed form. No torch is imported here."""

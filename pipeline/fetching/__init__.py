"""Downloading the selected pictures: lanes, dispatcher, journal, and the engine that drives img2dataset."""

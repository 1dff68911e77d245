"""A model of one's own, as a user writes it: pictures by their mean colour, texts by their length."""

MINE = """
import numpy as np
class Mine:
    name, side = "mine", 8
    def images(self, pixels):
        return np.asarray(pixels, np.float32).mean(axis=(2, 3)) / 255 + 0.1
    def texts(self, sentences):
        return np.array([[1, len(text) % 3, 1] for text in sentences], np.float32)
def load():
    return Mine()
"""

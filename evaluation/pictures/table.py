"""The layouts that can be read, by name. A new one is its Reader in a file of its family, and its line here."""

from evaluation.pictures import cifar, idx
from evaluation.pictures.cue_conflict import CUE_CONFLICT
from evaluation.pictures.image_folder import IMAGE_FOLDER
from evaluation.pictures.layout import Layout
from evaluation.pictures.parquet import PARQUET
from evaluation.pictures.shards import SHARDS
from evaluation.pictures.webdataset import WEBDATASET

UNIVERSAL: tuple[Layout, ...] = (WEBDATASET, SHARDS, PARQUET, IMAGE_FOLDER)
"""Layouts that fit any dataset; tried in this order after a task's own."""

OFFICIAL: tuple[Layout, ...] = (
    cifar.CIFAR10,
    cifar.CIFAR10_BINARY,
    cifar.CIFAR100,
    cifar.CIFAR100_BINARY,
    *cifar.CIFAR10_1,
    cifar.CIFAR_C,
    idx.MNIST,
    *idx.EMNIST,
    CUE_CONFLICT,
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (*OFFICIAL, *UNIVERSAL)}

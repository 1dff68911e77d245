"""The layouts that can be read, by name. A new one is its Reader in a file of its family, and its line here.

A dataset's own layout bears the name of its card in the catalog; a variant that is split otherwise has its own reader,
"eurosat@clip-paper".
"""

from evaluation.pictures import (
    annotated,
    binary,
    captioned,
    cifar,
    class_folders,
    described,
    frames,
    idx,
    imagenet,
    kinetics,
    listed,
    matlab,
)
from evaluation.pictures.coop import COOP
from evaluation.pictures.cue_conflict import CUE_CONFLICT
from evaluation.pictures.image_folder import IMAGE_FOLDER
from evaluation.pictures.layout import Either, Layout
from evaluation.pictures.metadata import METADATA
from evaluation.pictures.parquet import PARQUET
from evaluation.pictures.parquet_config import PARQUET_CONFIG
from evaluation.pictures.shards import SHARDS
from evaluation.pictures.webdataset import WEBDATASET

UNIVERSAL: tuple[Layout, ...] = (WEBDATASET, SHARDS, PARQUET, annotated.TABLE, METADATA, IMAGE_FOLDER, PARQUET_CONFIG)
"""Layouts that fit any dataset; tried in this order after a task's own."""

OFFICIAL: tuple[Layout, ...] = (
    cifar.CIFAR10,
    cifar.CIFAR100,
    *(*cifar.CIFAR10_1, *cifar.CIFAR_C),
    *(idx.MNIST, *idx.EMNIST),
    *(matlab.SVHN, matlab.FLOWERS),
    Either("cars", matlab.CARS),
    *(*binary.STL10, binary.PCAM),
    *(listed.FOOD101, listed.DTD, listed.PETS, listed.AIRCRAFT, listed.SUN397, listed.SUN397_ALL),
    *(listed.BIRDSNAP, listed.UCF101),
    *(*class_folders.EUROSAT, *class_folders.RESISC45, *class_folders.CALTECH101),
    *(class_folders.COUNTRY211, class_folders.SST2, kinetics.KINETICS),
    *(imagenet.IMAGENET, imagenet.REAL, imagenet.V2, imagenet.IMAGENET_A, imagenet.IMAGENET_R, imagenet.SKETCH),
    *(imagenet.OBJECTNET, imagenet.IMAGENET_C),
    *(*annotated.GTSRB, annotated.FER2013, annotated.FAIRFACE, *annotated.MEMES),
    *(*described.VOC2007, *described.KITTI, *described.CLEVR),
    *(frames.VID_ROBUST, frames.YTBB_ROBUST),
    Either("flickr30k", captioned.FLICKR30K),
    captioned.COCO,
    COOP,
    CUE_CONFLICT,
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (*OFFICIAL, *UNIVERSAL)}

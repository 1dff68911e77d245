"""Miniatures of datasets whose splits are lists of files, and of CoOp's splits."""

import json
from pathlib import Path

from miniatures.canvas import Made, Writer


def food101(folder: Path) -> Made:
    writer = Writer(folder / "food-101")
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for split, entries in (("train", ["waffles/101", "apple_pie/7"]), ("test", ["apple_pie/9", "waffles/3"])):
        splits[split] = [(each.split("/")[0], writer.write(f"images/{each}.jpg")) for each in entries]
        writer.put(f"meta/{split}.txt", "\n".join(entries) + "\n")
        by_class = {label: [each for each in entries if each.startswith(label)] for label in ("apple_pie", "waffles")}
        writer.put(f"meta/{split}.json", by_class)
    writer.put("meta/classes.txt", "apple_pie\nwaffles\n")
    return Made("food101", splits)


def dtd(folder: Path) -> Made:
    """Ten partitions; the second is another split of the same pictures."""
    writer = Writer(folder / "dtd")
    splits: dict[str, list[tuple[str, int]]] = {}
    for split, entry in (
        ("train", "banded/banded_0002.jpg"),
        ("val", "zigzagged/zigzagged_0002.jpg"),
        ("test", "banded/banded_0005.jpg"),
    ):
        splits[split] = [(entry.split("/")[0], writer.write(f"images/{entry}"))]
        writer.put(f"labels/{split}1.txt", entry + "\n")
        writer.put(f"labels/{split}2.txt", "banded/banded_9999.jpg\n")
    splits["trainval"] = splits["train"] + splits["val"]
    return Made("dtd", splits)


def pets(folder: Path) -> Made:
    """Breeds of cats are written with a capital; a listed .jpg may be a GIF, and Matlab files lie among the pictures."""
    writer = Writer(folder / "oxford-iiit-pet")
    writer.put("annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\n")
    splits: dict[str, list[tuple[str, int]]] = {}
    for split, part, entries in (
        ("train", "trainval", ["Abyssinian_100", "american_bulldog_10"]),
        ("test", "test", ["american_bulldog_7"]),
    ):
        splits[split] = [(each.rpartition("_")[0], writer.write(f"images/{each}.jpg")) for each in entries]
        writer.put(f"annotations/{part}.txt", "".join(f"{each} {at} 2 1\n" for at, each in enumerate(entries, 1)))
    (writer.folder / "images/Abyssinian_100.jpg").unlink()
    splits["train"][0] = ("Abyssinian", writer.write("images/x.gif"))
    (writer.folder / "images/x.gif").rename(writer.folder / "images/Abyssinian_100.jpg")
    writer.put("images/Abyssinian_100.mat", b"MATLAB")
    return Made("pets", splits | {"trainval": splits["train"]})


def aircraft(folder: Path) -> Made:
    """Names of variants with spaces and slashes."""
    writer = Writer(folder / "fgvc-aircraft-2013b" / "data")
    rows = {"train": [("1025794", "F/A-18")], "val": [("1340192", "Boeing 717")], "test": [("0034309", "707-320")]}
    splits = {split: [(label, writer.write(f"images/{n}.jpg")) for n, label in pairs] for split, pairs in rows.items()}
    splits["trainval"] = splits["train"] + splits["val"]
    rows["trainval"] = rows["train"] + rows["val"]
    for split, pairs in rows.items():
        writer.put(f"images_variant_{split}.txt", "".join(f"{n} {label}\n" for n, label in pairs))
    writer.put("variants.txt", "".join(f"{label}\n" for label in ("707-320", "Boeing 717", "F/A-18")))
    return Made("fgvc-aircraft", splits)


def sun397(folder: Path) -> Made:
    """The pictures under SUN397/, Partitions.zip unpacked beside it; classes may have two levels."""
    writer = Writer(folder)
    lists = {"train": ["/a/abbey/sun_b.jpg", "/a/apartment_building/outdoor/sun_c.jpg"], "test": ["/a/abbey/sun_a.jpg"]}
    splits = {
        split: [(each.rpartition("/")[0], writer.write(f"SUN397{each}")) for each in entries]
        for split, entries in lists.items()
    }
    writer.put("SUN397/a/access_road/sun_z.jpg", (writer.folder / "SUN397/a/abbey/sun_a.jpg").read_bytes())
    writer.put("SUN397/ClassName.txt", "/a/abbey\n/a/access_road\n/a/apartment_building/outdoor\n")
    writer.put("Partitions/ClassName.txt", "/a/abbey\n")
    writer.put("Partitions/Training_01.txt", "\n".join(lists["train"]) + "\n")
    writer.put("Partitions/Testing_01.txt", "\r\n".join(lists["test"]) + "\r\n")
    writer.put("Partitions/Testing_02.txt", "/a/access_road/sun_z.jpg\n")
    return Made("sun397", splits)


def sun397_all(folder: Path) -> Made:
    made = sun397(folder)
    every = [("/a/abbey", 2), ("/a/abbey", 0), ("/a/access_road", 2), ("/a/apartment_building/outdoor", 1)]
    return Made("sun397@datacomp", {"test": every}) if made else made


def birdsnap(folder: Path) -> Made:
    """One picture of each part is gone from the web."""
    writer = Writer(folder)
    paths = [
        "Acadian_Flycatcher/1.jpg",
        "Acadian_Flycatcher/2.jpg",
        "Anna’s_Hummingbird/3.jpg",
        "Anna’s_Hummingbird/4.jpg",
        "Blue_Jay/5.jpg",
    ]
    writer.put(
        "images.txt",
        "url\tmd5\tpath\tspecies_id\tbb_x1\n"
        + "".join(f"http://x/{at}\tab\t{p}\t{at}\t0\n" for at, p in enumerate(paths)),
    )
    writer.put("test_images.txt", "path\n" + "\n".join([paths[1], paths[3]]) + "\n")
    writer.put("species.txt", "id\tcommon\tscientific\tdir\n1\tAcadian Flycatcher\tx\tAcadian_Flycatcher\n")
    numbers = {path: writer.write(f"download/images/{path}") for path in paths if path not in (paths[3], paths[4])}
    return Made(
        "birdsnap",
        {
            "train": [("Acadian_Flycatcher", numbers[paths[0]]), ("Anna’s_Hummingbird", numbers[paths[2]])],
            "test": [("Acadian_Flycatcher", numbers[paths[1]])],
        },
    )


def ucf101(folder: Path) -> Made:
    """CoOp's frames, whose folders split the words of a class; in one class the videos are written otherwise than it."""
    writer = Writer(folder)
    writer.put("ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup\n2 HandstandPushups\n")
    writer.put(
        "ucfTrainTestlist/trainlist01.txt",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g01_c01.avi 2\n",
    )
    writer.put("ucfTrainTestlist/testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n")
    writer.put("ucfTrainTestlist/testlist02.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g99_c01.avi\n")
    top = "UCF-101-midframes"
    train = [
        ("ApplyEyeMakeup", writer.write(f"{top}/Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c01.jpg")),
        ("HandstandPushups", writer.write(f"{top}/Handstand_Pushups/v_HandStandPushups_g01_c01.jpg")),
    ]
    test = [("ApplyEyeMakeup", writer.write(f"{top}/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg"))]
    return Made("ucf101", {"train": train, "test": test})


def coop(folder: Path) -> Made:
    writer = Writer(folder)
    rows = {
        "train": [("havanese_13.jpg", 1, "havanese")],
        "val": [("beagle_1.jpg", 0, "beagle")],
        "test": [("beagle_2.jpg", 0, "beagle")],
    }
    splits = {split: [(str(n), writer.write(f"images/{path}")) for path, n, _ in part] for split, part in rows.items()}
    writer.put("split_zhou_OxfordPets.json", json.dumps(rows))
    splits["trainval"] = splits["train"] + splits["val"]
    return Made("coop", splits, classes=("beagle", "havanese"))


LISTS = {
    "food101": food101,
    "dtd": dtd,
    "pets": pets,
    "fgvc-aircraft": aircraft,
    "sun397": sun397,
    "sun397@datacomp": sun397_all,
    "birdsnap": birdsnap,
    "ucf101": ucf101,
    "coop": coop,
}

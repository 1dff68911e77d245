"""Labels join classes by name: numbers through the dataset's own list, other spellings, duplicates, and what fits nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from evaluation.catalog.words import prompts_of
from evaluation.pictures.joining import joined
from evaluation.pictures.pictures import Broken, Pictures


def labelled(labels: Sequence[Any], classes: tuple[str, ...] | None = None) -> Pictures:
    return Pictures(
        "toy/test", "x", {"label": labels}, lambda at: Image.new("L", (1, 1), at), len(labels), None, classes
    )


def test_numbers_go_through_the_datasets_own_list_whatever_its_order() -> None:
    table = {"AnnualCrop": ("annual crop land",), "SeaLake": ("lake or sea",), "3": ("three",)}
    pictures = labelled(("0", "2", "1"), ("Lake or Sea", "Annual_Crop Land", "three"))
    assert joined(pictures, "label", table).column("label") == ("SeaLake", "3", "AnnualCrop")


def test_the_tables_own_words_come_before_names_of_others() -> None:
    table = {"1": ("pink primrose",), "2": ("one",)}
    assert joined(labelled(("1", "2")), "label", table).column("label") == ("1", "2")


def test_a_name_of_two_classes_is_settled_by_place_only_where_all_others_prove_the_order() -> None:
    imagenet = prompts_of("imagenet").classes
    names = tuple(names[0] for names in imagenet.values())
    twice = [at for at, name in enumerate(names) if names.count(name) == 2]
    assert {names[at] for at in twice} == {"missile", "sunglasses"}
    every = tuple(str(at) for at in range(1000))
    assert joined(labelled(every, names), "label", imagenet).column("label") == tuple(imagenet)
    shuffled = (names[1], names[0], *names[2:])
    with pytest.raises(Broken, match="class 'missile' of its own list fits none or several"):
        joined(labelled(every, shuffled), "label", imagenet)


def test_imagenets_copy_on_the_hub_calls_classes_by_their_synsets() -> None:
    """As its `names:` has them: two are called `crane`, and `missile` is also a name of another class."""
    imagenet = prompts_of("imagenet")
    names = tuple(imagenet.also[label][0] for label in imagenet.classes)
    assert names[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert names.count("crane") == 2
    every = labelled(tuple(str(at) for at in range(1000)), names)
    assert joined(every, "label", imagenet.classes, also=imagenet.also).column("label") == tuple(imagenet.classes)
    turned = labelled(tuple(str(at) for at in range(1000)), names[::-1])
    with pytest.raises(Broken, match="class 'missile' of its own list fits none or several"):
        joined(turned, "label", imagenet.classes, also=imagenet.also)
    some = prompts_of("imagenet-r")
    assert len(some.classes) == len(some.also) == 200
    fish = labelled(("1", "0"), (names[2], "goldfish, Carassius auratus"))
    found = joined(fish, "label", some.classes, whole=False, also=some.also)
    assert found.column("label") == ("n01443537", "n01484850")


@pytest.mark.parametrize(
    ("prompts", "words", "labels"),
    [
        ("fer2013", ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), "0123645"),
        ("eurosat", ("Annual Crop", "SeaLake", "Industrial Buildings"), ("AnnualCrop", "SeaLake", "Industrial")),
        ("pcam.clip-benchmark", ("False", "True"), "01"),
    ],
)
def test_words_of_well_known_copies_are_joined_and_never_asked_for(
    prompts: str, words: tuple[str, ...], labels: Sequence[str]
) -> None:
    table = prompts_of(prompts)
    numbered = labelled(tuple(str(at) for at in range(len(words))), words)
    for pictures in (labelled(words), numbered):
        found = joined(pictures, "label", table.classes, whole=False, also=table.also)
        assert found.column("label") == tuple(labels)
    asked = {name for names in table.classes.values() for name in names}
    assert not asked & {word for more in table.also.values() for word in more}


def test_imagenetv2s_folders_are_numbers_of_synsets() -> None:
    imagenet = prompts_of("imagenet").classes
    got = joined(labelled(tuple(str(at) for at in range(1000))), "label", imagenet).column("label")
    assert got == tuple(sorted(imagenet))


def test_zero_based_numbers_do_not_pass_for_classes_that_count_from_one() -> None:
    flowers = prompts_of("flowers102").classes
    with pytest.raises(Broken, match="label '0' is not in the task's table of 102"):
        joined(labelled(tuple(str(at) for at in range(102))), "label", flowers)


def test_pictures_of_other_classes_are_left_out_where_a_task_asks_for_a_part() -> None:
    table = {"bench": ("bench",), "wok": ("wok",)}
    pictures = labelled(("air_freshener", "wok", "bench"))
    part = joined(pictures, "label", table, part=True)
    assert part.column("label") == ("wok", "bench")
    assert part.read(0).getpixel((0, 0)) == 1
    with pytest.raises(Broken, match=r"label 'air_freshener' is not in the task's table of 2"):
        joined(pictures, "label", table)


def test_several_labels_of_a_picture_join_one_by_one() -> None:
    table = {"cat": ("cat",), "dog": ("dog",)}
    several = labelled((("0", "1"), (), ("1",)), ("Dog", "Cat"))
    assert joined(several, "label", table).words("label") == (("dog", "cat"), (), ("cat",))


def test_a_class_without_pictures_and_a_number_outside_the_list_are_errors() -> None:
    table = {"cat": ("cat",), "dog": ("dog",), "cow": ("cow",)}
    with pytest.raises(Broken, match="has no picture of class 'cow' and 1 more of 3"):
        joined(labelled(("cat",)), "label", table)
    with pytest.raises(Broken, match="label 7 is outside its list of 3 classes"):
        joined(labelled(("0", "7"), ("cat", "dog", "cow")), "label", table)
    with pytest.raises(Broken, match="label 'dgo' is not in the task's table of 3, nearest is 'dog'"):
        joined(labelled(("cat", "dgo", "cow")), "label", table)
    assert replace(labelled(()), count=0).words("label") == ()

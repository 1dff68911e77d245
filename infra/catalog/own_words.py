"""The words by which datasets call their classes, where no rule turns the published name into them."""

# ruff: noqa: SIM905

CODES = tuple("AG AX BA BN BQ CD CF CI CV CW FO GB GS KG KN KP KR MF MK MM RE SJ SX SZ TL TT VA VG VI WS XK".split())
"""Countries of Country211 whose name there is not the one in ISO 3166's table, in the order of that list."""
SUN_PLACES = {
    "shop": "bakery",
    "office": "cubicle",
    "home": "dinette poolroom",
    "vehicle": "dinette",
    "interior": "balcony elevator",
    "exterior": "balcony covered_bridge gazebo",
    "door": "elevator",
    "sand": "desert",
    "vegetation": "desert",
    "cultivated": "field",
    "wild": "field",
    "broadleaf": "forest",
    "needleleaf": "forest",
    "natural": "canal lake",
    "urban": "canal",
    "water": "moat",
    "fan": "waterfall",
    "block": "waterfall",
    "plunge": "waterfall",
    "public": "atrium",
    "platform": "subway_station train_station",
    "establishment": "poolroom",
    "baseball": "stadium",
    "football": "stadium",
    "backseat": "car_interior",
    "frontseat": "car_interior",
    "east_asia": "temple",
    "south_asia": "temple",
    "indoor_procenium": "theater",
    "indoor_seats": "theater",
    "coral_reef": "underwater",
    "barrel_storage": "wine_cellar",
    "bottle_storage": "wine_cellar",
}
EUROSAT = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments",
    "River": "river",
    "SeaLake": "lake or sea",
}
CALTECH = {
    "background": "BACKGROUND_Google",
    "off-center face": "Faces",
    "centered face": "Faces_easy",
    "leopard": "Leopards",
    "motorbike": "Motorbikes",
    "airplane": "airplanes",
    "side of a car": "car_side",
    "body of a cougar cat": "cougar_body",
    "face of a cougar cat": "cougar_face",
    "head of a  crocodile": "crocodile_head",
    "head of a flamingo": "flamingo_head",
    "snoopy (cartoon beagle)": "snoopy",
    "yin and yang symbol": "yin_yang",
}
VID = (
    "airplane antelope bear bicycle bird bus car cattle dog domestic_cat elephant fox giant_panda hamster horse lion lizard"
    " monkey motorcycle rabbit red_panda sheep snake squirrel tiger train turtle watercraft whale zebra"
).split()
YTBB = {
    0: "person",
    1: "bird",
    2: "bicycle",
    3: "boat",
    4: "bus",
    5: "bear",
    7: "cat",
    9: "potted plant",
    10: "horse",
    11: "motorcycle",
    12: "knife",
    13: "airplane",
    15: "train",
    16: "truck",
    17: "zebra",
    19: "dog",
    20: "elephant",
    21: "umbrella",
    23: "car",
}

"""The query list of the demo web, and the texts that curation has to refuse.

Captions hold query words in lower case, between spaces or at an end, because MetaCLIP's matching (Xu et al. 2023,
arXiv:2309.16671, section 3.2) looks for the query between spaces and minds the case.
"""

from pipeline.demo.digits import WORDS
from pipeline.demo.scenes import COLOURS, PLACES, SHAPES, TEXTURES

HEAD_QUERY = "snapshot"
QUERIES = (
    *WORDS,
    *(str(label) for label in range(10)),
    *SHAPES,
    *COLOURS,
    *TEXTURES,
    *PLACES,
    *("photo", "picture", "drawing", "scan", "handwritten", "digit", "number", "notebook"),
    HEAD_QUERY,
)

BOILERPLATE = (
    "IMG_{number:04d}.jpg",
    "logo",
    "image",
    "DSC{number:05d}",
    "untitled",
    "IMG_{number:04d}",
    "icon",
    "DSC_{number:04d}.JPG",
    "banner",
    "thumbnail",
    "placeholder",
    "image{number}.png",
)

EMPTY = ("", None, "   ")
"""An empty alt, no alt at all, a blank alt."""

LANGUAGES = (
    "Unsere Familie im Sommer vor dem alten Haus meiner Großmutter",
    "Les enfants jouent dans le jardin derrière la maison de leurs parents",
    "Una tarde tranquila con mis hermanos en la casa de nuestros abuelos",
    "Мы гуляли по старому городу и смотрели на реку весь вечер",
    "我们在公园里度过了一个美好的下午，天气非常好",
    "I bambini mangiano il gelato davanti alla chiesa del paese",
    "Ontem fomos à praia com os nossos amigos e voltamos muito tarde",
    "Wczoraj poszliśmy z dziećmi do lasu i zbieraliśmy grzyby",
    "昨日は家族と一緒に山へ行って、とても楽しかったです",
    "De kinderen spelen in de tuin terwijl hun ouders het eten koken",
    "Dün akşam arkadaşlarımızla birlikte deniz kenarında yürüdük",
    "우리는 어제 친구들과 함께 공원에서 즐거운 시간을 보냈습니다",
    "Der Bahnhof wurde im Jahr nach dem großen Brand neu aufgebaut",
    "La bibliothèque de notre quartier ferme ses portes pendant les vacances",
    "El mercado abre todos los domingos por la mañana junto a la iglesia",
    "Вчера вечером мы долго разговаривали о том, что случилось с нашими соседями",
)

NO_QUERY = (
    "quarterly revenue by region",
    "our team at the summer fair",
    "how to find the museum entrance",
    "members of the board after the annual meeting",
    "opening hours during the holidays",
    "the old library before the renovation",
    "where the volunteers meet every weekend",
    "a letter from the editors to our readers",
    "the history of this collection at a glance",
    "thanks to everybody who helped with the exhibition",
)

GLUT = (
    "a snapshot from our archive",
    "another snapshot that a visitor sent to us",
    "a snapshot without any further description",
    "an undated snapshot found in a box",
    "this snapshot was taken by a friend of the house",
    "a snapshot from the collection of our readers",
    "a small snapshot that nobody has described yet",
)

OPENING = (
    "People have sent us things for years",
    "This part of the collection grew slowly",
    "Most of what you see here was found by chance",
    "Nobody remembers who began to keep these",
    "The page is looked after by volunteers",
    "We add new items whenever we find the time",
)
MIDDLE = (
    "and some of them still wait for a name",
    "because an attic had to be cleared",
    "while the old cabinets were being repaired",
    "so please tell us when something is wrong",
    "although the order has changed more than once",
    "and every visitor sees something else in them",
)
CLOSING = (
    "Write to us if you know more.",
    "Thank you for looking.",
    "The next items follow soon.",
    "All of it may be read, not all of it may be used.",
    "Come back next month.",
)
"""Prose around the pictures: an opening, a middle, a closing."""
SECTIONS = ("archive", "gallery", "notes", "visitors", "cabinet", "workshop", "school", "attic")

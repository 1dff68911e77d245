"""Languages of captions: the package's answers, and which short captions pass as English."""

import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.selection import language
from pipeline.selection.text_config import PRESETS, TextConfig

# "black cat", "view of the old town", "children play in the garden" in 65 languages and more
FOREIGN = """
    de|Schwarze Katze|Blick auf die Altstadt|Kinder spielen im Garten
    fr|Chat noir|Vue sur la vieille ville|Les enfants jouent dans le jardin
    es|Gato negro|Vista de la ciudad vieja|Niños jugando en el jardín
    it|Gatto nero|Vista della città vecchia|Bambini che giocano in giardino
    pt|Gato preto|Vista da cidade velha|Crianças brincando no jardim
    ca|Gat negre|Vista de la ciutat vella|Nens jugant al jardí
    gl|Gato negro|Vista da cidade vella|Nenos xogando no xardín
    ro|Pisică neagră|Vedere spre orașul vechi|Copii care se joacă în grădină
    nl|Zwarte kat|Uitzicht op de oude stad|Kinderen spelen in de tuin
    af|Swart kat|Uitsig oor die ou stad|Kinders speel in die tuin
    sv|Svart katt|Utsikt över gamla stan|Barn som leker i trädgården
    da|Sort kat|Udsigt over den gamle by|Børn leger i haven
    no|Svart katt|Utsikt over gamlebyen|Barn leker i hagen
    is|Svartur köttur|Útsýni yfir gamla bæinn|Börn að leik í garðinum
    fi|Musta kissa|Näkymä vanhaan kaupunkiin|Lapset leikkivät puutarhassa
    et|Must kass|Vaade vanalinnale|Lapsed mängivad aias
    hu|Fekete macska|Kilátás az óvárosra|Gyerekek játszanak a kertben
    pl|Czarny kot|Widok na stare miasto|Dzieci bawiące się w ogrodzie
    cs|Černá kočka|Pohled na staré město|Děti si hrají na zahradě
    sk|Čierna mačka|Pohľad na staré mesto|Deti sa hrajú v záhrade
    sl|Črna mačka|Pogled na staro mesto|Otroci se igrajo na vrtu
    hr|Crna mačka|Pogled na stari grad|Djeca se igraju u vrtu
    lt|Juoda katė|Senamiesčio vaizdas|Vaikai žaidžia sode
    lv|Melns kaķis|Skats uz vecpilsētu|Bērni spēlējas dārzā
    sq|Mace e zezë|Pamje e qytetit të vjetër|Fëmijët luajnë në kopsht
    tr|Siyah kedi|Eski şehrin manzarası|Bahçede oynayan çocuklar
    az|Qara pişik|Köhnə şəhərin görünüşü|Bağda oynayan uşaqlar
    vi|Mèo đen|Quang cảnh phố cổ|Trẻ em chơi trong vườn
    id|Kucing hitam|Pemandangan kota tua|Anak-anak bermain di taman
    tl|Itim na pusa|Tanawin ng lumang lungsod|Mga batang naglalaro sa hardin
    sw|Paka mweusi|Mandhari ya mji mkongwe|Watoto wakicheza bustanini
    eu|Katu beltza|Alde zaharraren ikuspegia|Haurrak lorategian jolasten
    cy|Cath ddu|Golygfa o'r hen dref|Plant yn chwarae yn yr ardd
    ga|Cat dubh|Radharc ar an seanbhaile|Páistí ag súgradh sa ghairdín
    mt|Qattus iswed|Veduta tal-belt il-qadima|Tfal jilagħbu fil-ġnien
    eo|Nigra kato|Vido al la malnova urbo|Infanoj ludas en la ĝardeno
    ru|Чёрная кошка|Вид на старый город|Дети играют в саду
    uk|Чорний кіт|Вид на старе місто|Діти граються в саду
    be|Чорны кот|Від на стары горад|Дзеці гуляюць у садзе
    bg|Черна котка|Изглед към стария град|Деца играят в градината
    sr|Црна мачка|Поглед на стари град|Деца се играју у башти
    mk|Црна мачка|Поглед на стариот град|Деца играат во градината
    kk|Қара мысық|Ескі қаланың көрінісі|Бақта ойнап жүрген балалар
    mn|Хар муур|Хуучин хотын харагдац|Цэцэрлэгт тоглож буй хүүхдүүд
    el|Μαύρη γάτα|Θέα στην παλιά πόλη|Παιδιά παίζουν στον κήπο
    he|חתול שחור|נוף של העיר העתיקה|ילדים משחקים בגן
    ar|قطة سوداء|منظر للمدينة القديمة|أطفال يلعبون في الحديقة
    fa|گربه سیاه|نمایی از شهر قدیمی|بازی کودکان در باغ
    ur|کالی بلی|پرانے شہر کا منظر|باغ میں کھیلتے بچے
    hi|काली बिल्ली|पुराने शहर का दृश्य|बगीचे में खेलते बच्चे
    mr|काळी मांजर|जुन्या शहराचे दृश्य|बागेत खेळणारी मुले
    ne|कालो बिरालो|पुरानो सहरको दृश्य|बगैंचामा खेलिरहेका बालबालिका
    bn|কালো বিড়াল|পুরনো শহরের দৃশ্য|বাগানে খেলছে শিশুরা
    pa|ਕਾਲੀ ਬਿੱਲੀ|ਪੁਰਾਣੇ ਸ਼ਹਿਰ ਦਾ ਦ੍ਰਿਸ਼|ਬਾਗ ਵਿੱਚ ਖੇਡਦੇ ਬੱਚੇ
    gu|કાળી બિલાડી|જૂના શહેરનું દૃશ્ય|બગીચામાં રમતા બાળકો
    ta|கருப்பு பூனை|பழைய நகரத்தின் காட்சி|தோட்டத்தில் விளையாடும் குழந்தைகள்
    te|నల్ల పిల్లి|పాత నగర దృశ్యం|తోటలో ఆడుకుంటున్న పిల్లలు
    kn|ಕಪ್ಪು ಬೆಕ್ಕು|ಹಳೆಯ ನಗರದ ನೋಟ|ತೋಟದಲ್ಲಿ ಆಡುತ್ತಿರುವ ಮಕ್ಕಳು
    ml|കറുത്ത പൂച്ച|പഴയ നഗരത്തിന്റെ കാഴ്ച|തോട്ടത്തിൽ കളിക്കുന്ന കുട്ടികൾ
    si|කළු පූසා|පැරණි නගරයේ දසුන|වත්තේ සෙල්ලම් කරන ළමයි
    th|แมวดำ|วิวเมืองเก่า|เด็กเล่นในสวน
    lo|ແມວດຳ|ທິວທັດຂອງເມືອງເກົ່າ|ເດັກນ້ອຍຫຼິ້ນໃນສວນ
    km|ឆ្មាខ្មៅ|ទិដ្ឋភាពទីក្រុងចាស់|កុមារលេងក្នុងសួន
    ka|შავი კატა|ძველი ქალაქის ხედი|ბავშვები თამაშობენ ბაღში
    hy|Սև կատու|Հին քաղաքի տեսարան|Երեխաները խաղում են այգում
    am|ጥቁር ድመት|የድሮው ከተማ እይታ|በአትክልት ስፍራ የሚጫወቱ ልጆች
    zh|黑猫|老城区的景色|孩子们在花园里玩耍
    ja|黒猫|旧市街の眺め|庭で遊ぶ子供たち
    ko|검은 고양이|구시가지 전경|정원에서 노는 아이들
    my|ကြောင်အနက်|မြို့ဟောင်းရှုခင်း|ဥယျာဉ်ထဲတွင် ကစားနေသော ကလေးများ
"""
ODDS = TextConfig().language_odds


def captions() -> list[tuple[str, str]]:
    rows = [line.strip().split("|") for line in FOREIGN.strip().split("\n")]
    return [(name, unicodedata.normalize("NFC", text)) for name, *texts in rows for text in texts]


def falls(texts: list[str], odds: float = ODDS) -> np.ndarray:
    return language.foreign(pa.array(texts), ("en",), odds)[0]


def test_the_language_is_the_one_that_the_package_gives(shared: Path) -> None:
    lines = (shared / "data" / "naughty-strings" / "blns.txt").read_text("utf-8", "replace").split("\n")
    texts = [*(" ".join(line.split()) for line in lines), "EIN KREIS", *(text for _, text in captions())]
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    package = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    told = language.identify(pa.array(texts), ("en", "sr"))
    names = language.model(("en", "sr")).languages
    for i, text in enumerate(texts):
        expected, confidence = package.classify(text)
        ranked = dict(package.rank(text))
        assert told.wanted[i] == pytest.approx(ranked["en"] + ranked["sr"], abs=1e-4), text
        if told.best[i] >= 0:
            assert told.probability[i] == pytest.approx(confidence, abs=1e-4), text
            assert names[told.best[i]] == expected or confidence < 0.05, text


def test_short_captions_of_other_languages_fall_and_english_ones_stay(shared: Path) -> None:
    texts = captions()
    fallen = falls([text for _, text in texts])
    missed = [text for text, gone in zip(texts, fallen, strict=True) if not gone]
    assert len({name for name, _ in texts}) >= 65
    assert len(missed) <= 0.08 * len(texts), missed
    assert all(any("LATIN" in unicodedata.name(each, "") for each in text) for _, text in missed), missed
    lone = ["봉투", "猢猻", "خم", "பூனை"]  # words in which the model sees next to nothing
    assert falls([*lone, "2019", "x", "12 × 8"]).tolist() == [True] * len(lone) + [False] * 3
    table = shared / "data" / "cc3m-validation-tsv" / "Validation_GCC-1.1.0-Validation.tsv"
    english = [line.split("\t")[0] for line in table.read_text("utf-8").splitlines()]
    assert falls(english).mean() < 0.0005


def test_a_preset_asks_for_the_likeliest_language_as_its_source_does() -> None:
    texts = [text for _, text in captions()]
    likeliest = language.identify(pa.array(texts), ("en",)).best
    is_english = likeliest == language.model(("en",)).languages.index("en")
    for name in ("datacomp-basic", "laion", "metaclip", "coyo"):
        config = TextConfig(preset=name)
        assert (config.languages, config.language_odds) == (("en",), 1), PRESETS[name]
    assert falls(texts, 1).tolist() == (~is_english).tolist()
    assert falls(texts, 1).mean() > 0.98


def test_a_language_that_cannot_be_told_is_one_line() -> None:
    with pytest.raises(ConfigError, match="'xx' is no language that can be told"):
        language.foreign(pa.array(["a"]), ("xx",), 30)

"""DemoWebConfig: the size of the demo web and the number of each defect planted in it."""

from pydantic import Field

from pipeline.settings import Settings

TRAIN_DIGITS = 1437
"""Pictures in the train part of scikit-learn's digits (80 % of 1,797)."""


class DemoWebConfig(Settings):
    """A demo web of about 4,000 pictures on 300 pages. `DemoWebConfig.smoke()` is the same web at a tenth of the size.

    Pairs are <img> places in pages; the pictures of all planted pairs but copies and leaks are taken out of
    `digits` and `scenes`, so those two set the size.
    """

    seed: int = Field(default=1, ge=0, lt=2**32)
    """Changes every picture, text and page; never the evaluation pictures."""
    digits: int = Field(default=1900, ge=10, le=4 * TRAIN_DIGITS)
    """Pictures of handwritten digits, from the digits of the train part in turn; a second photo of one looks different."""
    scenes: int = Field(default=2050, ge=64)
    """Pictures of drawn scenes."""
    pairs_per_page: int = Field(default=14, ge=1)
    """Pictures on an ordinary page."""
    sections_per_host: int = Field(default=6, ge=1, le=8)
    """Sections of each site; a section has an index page that links to its pages."""
    pairs_per_query: int = Field(default=400, ge=1)
    """The t of balancing that the recipe must use: every pair but the glut then matches a query with at most t pairs."""

    robots_txt_pages: int = Field(default=6, ge=0)
    """Pages under a robots.txt Disallow."""
    header_opt_out_pages: int = Field(default=5, ge=0)
    """Pages served with X-Robots-Tag: noai."""
    meta_opt_out_pages: int = Field(default=5, ge=0)
    """Pages with <meta name=robots content=noimageai>."""
    pairs_per_opted_out_page: int = Field(default=6, ge=1)
    """Pictures on each opted-out page; they appear nowhere else."""
    dead_pages: int = Field(default=3, ge=0)
    """Links to pages that do not exist."""
    not_html_pages: int = Field(default=2, ge=0)
    """Links to plain text where a page is expected."""

    duplicate_pair: int = Field(default=40, ge=0)
    """The same picture with the same text on a second page."""
    text_empty: int = Field(default=40, ge=0)
    """alt="", blank, or no alt at all."""
    text_boilerplate: int = Field(default=60, ge=0)
    """IMG_1234.jpg, logo, untitled, ..."""
    text_language: int = Field(default=50, ge=0)
    """Sentences in other languages than English."""
    no_query: int = Field(default=12, ge=0)
    """English sentences without any word of the query list."""
    glut: int = Field(default=150, ge=0)
    """Pairs that match the overfull query "snapshot" alone; balancing drops some of them, how many follows from its rule."""

    not_found: int = Field(default=25, ge=0)
    """Dead picture links, 404 and 410."""
    redirect_loop: int = Field(default=4, ge=0)
    """Pictures that redirect in a circle."""
    too_slow: int = Field(default=4, ge=0)
    """Pictures that arrive at one byte per second, for ever."""
    image_too_small: int = Field(default=20, ge=0)
    """Pictures of 8 to 16 pixels."""
    aspect_too_extreme: int = Field(default=12, ge=0)
    """Strips six times as long as wide, or longer."""
    decode_failed: int = Field(default=12, ge=0)
    """JPEG files cut off half way."""
    not_an_image: int = Field(default=8, ge=0)
    """HTML that calls itself image/jpeg."""
    header_opt_out: int = Field(default=10, ge=0)
    """Pictures served with X-Robots-Tag: noai."""
    robots_txt: int = Field(default=5, ge=0)
    """Pictures under a robots.txt Disallow, on pages that may be read."""

    duplicate_bytes: int = Field(default=60, ge=0)
    """Copies of a picture file at another URL, with a text of their own."""
    near_duplicate: int = Field(default=60, ge=0)
    """Copies recompressed, resized or cropped a little, in equal parts."""
    leaked_digits: int = Field(default=15, ge=0)
    """Evaluation digits, recompressed or resized."""
    leaked_scenes: int = Field(default=15, ge=0)
    """Evaluation scenes, recompressed or resized."""

    retried: int = Field(default=12, ge=0)
    """Good pictures that answer 500 once, then 200."""
    redirected: int = Field(default=15, ge=0)
    """Good pictures behind one to three redirects."""
    cmyk: int = Field(default=10, ge=0)
    """Good pictures as CMYK JPEG."""
    sixteen_bit: int = Field(default=10, ge=0)
    """Good pictures as 16-bit grey PNG (digits only: their captions name no colour)."""
    exif_rotated: int = Field(default=12, ge=0)
    """Good pictures stored lying down, with the EXIF orientation that sets them up."""

    @staticmethod
    def smoke() -> "DemoWebConfig":
        """About 40 pages and 400 pictures, every defect present."""
        small = {
            "robots_txt_pages": 2, "header_opt_out_pages": 1, "meta_opt_out_pages": 1, "pairs_per_opted_out_page": 3,
            "dead_pages": 1, "not_html_pages": 1, "duplicate_pair": 4, "text_empty": 4, "text_boilerplate": 6,
            "text_language": 6, "no_query": 2, "glut": 30, "not_found": 4, "redirect_loop": 1, "too_slow": 1,
            "image_too_small": 3, "aspect_too_extreme": 2, "decode_failed": 2, "not_an_image": 2, "header_opt_out": 2,
            "robots_txt": 2, "duplicate_bytes": 6, "near_duplicate": 6, "leaked_digits": 3, "leaked_scenes": 3,
            "retried": 2, "redirected": 3, "cmyk": 2, "sixteen_bit": 2, "exif_rotated": 2,
        }  # fmt: skip
        return DemoWebConfig(digits=140, scenes=248, sections_per_host=2, pairs_per_query=50, **small)

"""What a recipe says about where its pairs come from: one model per kind of source, told apart by `kind`.

    curate:
      sources:
        crawl: {kind: site, seeds: [https://example.org/]}
        laion: {kind: table, files: [/data/laion/*.parquet]}

A source's step is called by its name. Light to import, so that `openwit plan` stays fast.
"""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from pipeline.settings import Settings
from pipeline.web.urls import UnusableURLError, canonical, host_of

TextOrigin = Literal[
    "alt",
    "figcaption",
    "title",
    "aria-label",
    "aria-labelledby",
    "og:image:alt",
    "twitter:image:alt",
    "json-ld",
    "sitemap:caption",
    "sitemap:title",
    "og:title",
]
"""Where words of a picture stand on a page, in a page's metadata or in a sitemap."""

TEXT_FROM: tuple[TextOrigin, ...] = get_args(TextOrigin)
RESERVED = (
    "web", "references", "select", "fetch", "score", "deduplicate", "decontaminate", "pack", "data", "train",
    "checkpoint", "evaluate", "report",
)  # fmt: skip
"""Names of the other steps, which no source can bear."""


class SourceSettings(Settings):
    """What all sources share."""

    PLACES: ClassVar[tuple[str, ...]] = ()
    """Keys that say where input lies. What is read there decides the result, the place does not."""


class SiteSource(SourceSettings):
    """Live sites: which pages are read and which words of a page belong to a picture."""

    kind: Literal["site"]
    """site: live pages, read politely from seeds on."""
    seeds: tuple[str, ...] = Field(min_length=1)
    """URLs the crawl starts from."""
    domains: tuple[str, ...] = ()
    """Domains (with all below them) that may be crawled besides the seeds' hosts."""
    include: tuple[str, ...] = ()
    """Pages are read only where path and query fit one of these, written as in robots.txt: /wiki/, *.html$."""
    exclude: tuple[str, ...] = ()
    """Pages are not read where path and query fit one of these; seeds are read all the same."""
    max_pages: int = Field(100_000, ge=1)
    """The crawl ends when this many URLs were tried as pages; the last wave's are shared evenly among its hosts."""
    max_depth: int = Field(20, ge=0)
    """Links followed from a seed or a sitemap's page; 0 reads these only (a redirect to another host is no link)."""
    max_page_bytes: int = Field(10_000_000, gt=0)
    """Largest page; a larger one is too_large."""
    pages_per_item: int = Field(64, ge=1)
    """Pages in one work item: what is done again after a kill."""
    use_sitemap: bool = False
    """Also start from the sitemaps of the seeds' hosts (robots.txt's Sitemap lines, else /sitemap.xml)."""
    max_sitemaps: int = Field(1000, ge=1)
    """Most sitemap files read."""
    text_from: tuple[TextOrigin, ...] = TEXT_FROM
    """Where a picture's text is looked for, in this order; the first that is not empty is the pair's, all are kept."""

    @field_validator("seeds")
    @classmethod
    def _usable(cls, seeds: tuple[str, ...]) -> tuple[str, ...]:
        for seed in seeds:
            try:
                canonical(seed)
            except UnusableURLError as error:
                raise ValueError(f"{seed!r} cannot be crawled ({error}); write it like https://example.org/") from None
        return seeds

    @field_validator("domains")
    @classmethod
    def _names(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_domain, domains))

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern.startswith(("/", "*")):
                raise ValueError(f"{pattern!r} fits no path; begin it with / or *, as in /wiki/ or *.html$")
        return patterns


def _domain(word: str) -> str:
    """A domain as URLs have it: in lower case, IDNA."""
    try:
        url = canonical(f"http://{word.strip().removeprefix('*').strip('.')}/")
    except UnusableURLError as error:
        raise ValueError(f"{word!r} is no domain ({error}); write it like example.org") from None
    if url != f"http://{host_of(url)}/":
        raise ValueError(f"{word!r} is no domain; write it like example.org")
    return host_of(url)


class FilesSource(SourceSettings):
    """A source that is a list of files."""

    PLACES: ClassVar[tuple[str, ...]] = ("files", "paths_file", "prefix")

    files: tuple[str, ...] = ()
    """Paths, globs or fsspec URLs (s3://, gs://, hf://)."""
    paths_file: str | None = None
    """A file with one path per line, .gz too (Common Crawl's wat.paths.gz)."""
    prefix: str = ""
    """Put before each line of `paths_file`: s3://commoncrawl/ say."""

    @model_validator(mode="after")
    def _some(self) -> "FilesSource":
        if not self.files and self.paths_file is None and getattr(self, "index", None) is None:
            raise ValueError(f"this {getattr(self, 'kind', '')} source names no input; give files: [/path/*] to it")
        return self


class ArchiveSource(FilesSource):
    """Files of a web crawl."""

    crawl_id: str | None = Field(None, pattern=r"^[\w.-]{1,64}$")
    """The crawl's name (CC-MAIN-2026-05) for the rows; null takes isPartOf of the files' own warcinfo."""
    text_from: tuple[TextOrigin, ...] = TEXT_FROM
    """Where a picture's text is looked for, in this order; the first that is not empty is the pair's, all are kept."""
    max_record_bytes: int = Field(64_000_000, ge=1000)
    """Largest record; a larger one is passed over and counted."""


class WatSource(ArchiveSource):
    """Common Crawl WAT: what its extractor saw on each page, as JSON."""

    kind: Literal["wat"]
    """wat: metadata of pages; cheap, with alt and title of each picture and the page's og:image."""


class WarcSource(ArchiveSource):
    """WARC (or ARC) files with pages as they were sent."""

    PLACES: ClassVar[tuple[str, ...]] = ("files", "paths_file", "prefix", "index")

    kind: Literal["warc"]
    """warc: whole pages; finds more per page than wat."""
    index: tuple[str, ...] | None = None
    """CDXJ or Parquet index files naming filename, offset and length: only those records are read, below `prefix`."""
    max_page_bytes: int = Field(10_000_000, gt=0)
    """Largest page; a larger one is too_large."""
    records_per_item: int = Field(2000, ge=1)
    """Index lines in one work item."""


class TableSource(FilesSource):
    """Tables of picture URLs and texts: LAION, CC3M, CC12M, COYO, DataComp, or your own."""

    kind: Literal["table"]
    """table: Parquet, CSV (cut at commas, semicolons, tabs or bars), TSV, JSON (lines or one array), or .txt with a URL
    per line and its caption behind it; .gz and UTF-16 too."""
    url_column: str | None = None
    """Column of the picture's URL, or its number in a table without header; null detects it."""
    text_column: str | None = None
    """Column of the text; null detects it."""
    page_url_column: str | None = None
    """Column of the page's URL; null detects it."""
    licence_column: str | None = None
    """Column of the licence; null detects it."""
    score_columns: tuple[str, ...] = ()
    """Further columns of numbers that stay with the pairs; those of DataComp, LAION and COYO do by themselves."""
    rows_per_item: int = Field(200_000, ge=1)
    """Rows in one work item."""


class FolderSource(SourceSettings):
    """A folder of pictures with captions."""

    PLACES: ClassVar[tuple[str, ...]] = ("path",)

    kind: Literal["folder"]
    """folder: pictures that lie on storage already; nothing is downloaded."""
    path: str
    """The folder, or an fsspec URL of one; pictures below it at any depth."""
    captions: Literal["auto", "sidecar", "table", "folder_name"] = "auto"
    """sidecar: same-stem .txt, .json or .caption; table: captions or metadata .jsonl, .csv, .tsv, .parquet in the folder, and the
    files of Flickr and COCO; folder_name: the name of the picture's folder; auto: the first of these that gives a text, where
    pictures lie in more than one folder or `text_template` says what to make of its name."""
    text_template: str = "{}"
    """What a folder's name becomes a text by: "a photo of a {}."."""
    pictures_per_item: int = Field(2000, ge=1)
    """Pictures in one work item."""

    @field_validator("text_template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        if template.count("{}") != 1 or template.replace("{}", "").strip("{}") != template.replace("{}", ""):
            raise ValueError(f"{template!r} needs exactly one {{}} for the folder's name: 'a photo of a {{}}.'")
        return template


class ShardsSource(SourceSettings):
    """Finished shards: WebDataset tars or Parquet with pictures, of openwit, img2dataset or others."""

    PLACES: ClassVar[tuple[str, ...]] = ("path",)

    kind: Literal["shards"]
    """shards: a finished dataset's pictures and texts; nothing is downloaded."""
    path: str
    """The folder, or an fsspec URL of one, that holds the .tar or .parquet files."""
    score_columns: tuple[str, ...] = ()
    """Further numbers of the samples' JSON or columns that stay with the pairs; those of DataComp, LAION and COYO do anyway."""


Source = Annotated[
    SiteSource | WatSource | WarcSource | TableSource | FolderSource | ShardsSource, Field(discriminator="kind")
]

"""URLs as found in the wild, brought to one form or refused (RFC 3986; where that is silent, the WHATWG URL standard).

Equal addresses get equal strings: host in lower case and IDNA, default port dropped, dot segments resolved, everything
outside ASCII percent-encoded, no fragment. What browsers repair is repaired (blanks, backslashes, a stray %).
"""

import functools
import ipaddress
import re
import string
from urllib.parse import quote, unquote

import idna

MAX_CHARACTERS = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:@!$&'()*+,;=~-._"
_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# What most URLs look like: in the one form already. Labels are short, the last begins with a letter (so it is no address),
# or it is an address in its usual spelling; a port of four digits and more is no scheme's own.
_CLEAN = re.compile(
    rf"https?://(?:(?:[a-z0-9_-]{{1,63}}\.){{1,3}}[a-z][a-z0-9_-]{{0,62}}|(?:{_OCTET}\.){{3}}{_OCTET})"
    r"(?::(?:[1-9]\d{3}|[1-5]\d{4}))?"
    r"/[A-Za-z0-9/:@!$&'()*+,=~._-]*(?:\?[A-Za-z0-9/:@!$&'()*+,=~._?-]+)?",
    re.ASCII,
)
_PARTS = re.compile(r"([a-z]+:)(//[^/?#]*)([^?#]*)(\?[^#]*)?")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
_CLEAN_PATH = re.compile(r"/[A-Za-z0-9_~-][A-Za-z0-9/:@!$&'()*+,=~._-]*(?:\?[A-Za-z0-9/:@!$&'()*+,=~._?-]+)?")
_CLEAN_RELATIVE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9/_.-]*")


class UnusableURLError(ValueError):
    """No http(s) URL that we would ever connect to; the message says why in a few words."""


def canonical(url: str, base: str | None = None) -> str:
    """The one form of `url`, taken relative to `base`. Raises UnusableURLError."""
    return url if is_canonical(url) else _repaired(url, base)


@functools.lru_cache(maxsize=4096)
def _repaired(url: str, base: str | None) -> str:
    text = re.sub(r"[\t\r\n]", "", url.strip("".join(map(chr, range(33)))))
    # Lone surrogates are no text, but for U+DC80-DCFF: so raw bytes of a Location header come to us.
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text)
    text = re.sub(r"^[^?#]*", lambda head: _slashes(head[0]), text)
    if base is not None:
        text = _joined(base, text)
    if len(text) > MAX_CHARACTERS:
        raise UnusableURLError(f"longer than {MAX_CHARACTERS} characters")
    found = re.match(r"(?i)(https?):/*([^/?#]*)([^?#]*)(?:\?([^#]*))?", text)
    if found is None:
        other = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", text)
        raise UnusableURLError(f"scheme {other[0].lower()[:20]}" if other else "no scheme")
    scheme, place, path, query = found[1].lower(), found[2], found[3], found[4]
    if "@" in place:
        raise UnusableURLError("user name in the URL")
    host, port = _host_and_port(place, scheme)
    tail = f"?{_encode(query, _SAFE + '?')}" if query else ""
    return f"{scheme}://{host}{port}{_without_dots(_encode(path, _SAFE))}{tail}"


def _joined(base: str, word: str) -> str:
    """RFC 3986 section 5.2.2, dot segments still in it. (Python's urljoin takes empty segments out: "fetch/http://a.example/b", as
    proxies and archives have it in their paths, loses a slash, and no picture lies there.)"""
    found = _PARTS.match(base)
    if found is None:
        raise UnusableURLError("taken relative to what is no address")
    scheme, place, path, query = found.groups("")
    if word[: len(scheme)].lower() == scheme and word[len(scheme) : len(scheme) + 2] != "//":  # "http:b.jpg"
        word = word[len(scheme) :]
    if _SCHEME.match(word):
        return word
    if word.startswith("//"):
        return scheme + word
    if word.startswith("/"):
        return scheme + place + word
    if word.startswith("?"):
        return scheme + place + path + word
    if not word or word.startswith("#"):
        return scheme + place + path + query
    return scheme + place + (path[: path.rfind("/") + 1] or "/") + word


class Base:
    """A canonical URL that many others are taken relative to: `join` gives what `canonical` gives, mostly much faster."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._origin = origin_of(url)
        self._is_clean = is_canonical(f"{self._origin}/")
        self.clean_origin = self._origin if self._is_clean else ""
        """What stands before a clean path that begins with a slash; "" where `join` has to look."""
        path = url.partition("?")[0]
        folder = path[: path.rindex("/") + 1]
        self._folder = folder if folder.count("//") == 1 else None

    def join(self, word: str) -> str:
        """Raises UnusableURLError."""
        full = word
        first = word[:1]
        if first == "/":
            if self._is_clean and _CLEAN_PATH.fullmatch(word) and "/." not in word and len(word) < MAX_CHARACTERS - 512:
                return self._origin + word
            full = self._origin + word if word[1:2] != "/" else word
        elif first == "h" and word[:4] == "http":
            pass
        elif word[:5] == "data:":  # many and long
            raise UnusableURLError("scheme data")
        elif self._folder and "//" not in word:
            folder, rest = self._folder, word
            while rest[:3] == "../":
                rest = rest[3:]
                folder = folder[: max(folder.rfind("/", 0, -1), len(self._origin)) + 1]
            if _CLEAN_RELATIVE.fullmatch(rest):
                full = folder + rest
        return full if is_canonical(full) else canonical(word, self.url)


def is_canonical(url: str) -> bool:
    """True only for what `canonical` gives back unchanged; False for the rest and some of that."""
    return _CLEAN.fullmatch(url) is not None and "/." not in url and len(url) <= MAX_CHARACTERS


def host_of(url: str) -> str:
    """Host name of a canonical URL; an IPv6 literal without its brackets."""
    return split_canonical(url)[1]


def port_of(url: str) -> int:
    return split_canonical(url)[2]


@functools.lru_cache(maxsize=4096)
def split_canonical(url: str) -> tuple[str, str, int, str, str]:
    """(scheme, host, port, authority, target) of a canonical URL: what a request is made from."""
    scheme, _, rest = url.partition("://")
    slash = rest.index("/")
    authority = rest[:slash]
    if authority[0] == "[":
        host, _, port = authority[1:].partition("]")
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    return scheme, host, int(port) if port else _DEFAULT_PORTS[scheme], authority, rest[slash:]


def origin_of(url: str) -> str:
    """`scheme://host[:port]` of a canonical URL."""
    return url[: url.index("/", url.index("//") + 2)]


def from_a_list(url: str) -> str:
    """The canonical form of a URL as people write it down, "example.org/a.jpg" too; what is no URL is given back."""
    for word in (url, f"http://{url}") if "." in url.partition("/")[0] else (url,):
        try:
            return canonical(word)
        except UnusableURLError:
            continue
    return url


def address(url: str) -> str:
    """What a URL names, however it is spelled: its form `from_a_list` without the scheme, %41 read as the A that it is (RFC 3986
    section 6.2.2). It is for comparing lists of others with what we have; we ask for, and tell pages apart by, `canonical`."""
    place = re.sub("^https?://", "", from_a_list(url))
    return _ESCAPED.sub(_plain_or_upper, place) if "%" in place else place


def _plain_or_upper(escaped: re.Match[str]) -> str:
    letter = chr(int(escaped[1], 16))
    return letter if letter in _UNRESERVED else escaped[0].upper()


def _slashes(head: str) -> str:
    # Browsers read a backslash as a slash in http(s) URLs; data:, mailto: and the like are refused later anyway.
    return head.replace("\\", "/")


def _host_and_port(place: str, scheme: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", place)
    if found is None:
        raise UnusableURLError("malformed host")
    number = int(found[2][:6]) if found[2] else _DEFAULT_PORTS[scheme]
    if not 0 < number < 65536:
        raise UnusableURLError("port out of range")
    return _host(found[1]), "" if number == _DEFAULT_PORTS[scheme] else f":{number}"


@functools.lru_cache(maxsize=20_000)
def _host(raw: str) -> str:
    if raw.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(raw[1:-1])}]" if "%" not in raw else _refuse("scoped IPv6 address")
        except ValueError as error:
            raise error if isinstance(error, UnusableURLError) else UnusableURLError("malformed IPv6 address") from None
    host = unquote(raw, errors="replace").lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise UnusableURLError("malformed international host name") from None
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host) or len(host) > 253 or any(len(label) > 63 for label in host.split(".")):
        raise UnusableURLError("malformed host")
    # 127.1, 0x7f000001, 2130706433: the system's resolver reads these as addresses, so they are names of nothing else.
    if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise UnusableURLError("odd spelling of an IPv4 address") from None
    return host


def _refuse(why: str) -> str:
    raise UnusableURLError(why)


def _encode(text: str, safe: str) -> str:
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe=safe, errors="surrogateescape"))


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, with %2e read as a dot, so that no spelling walks round a robots.txt rule."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for position, segment in enumerate(segments):
        plain = re.sub("(?i)%2e", ".", segment)
        if plain in (".", ".."):
            if plain == ".." and kept:
                kept.pop()
            if position == len(segments) - 1:
                kept.append("")
        else:
            kept.append(segment)
    return "/" + "/".join(kept)

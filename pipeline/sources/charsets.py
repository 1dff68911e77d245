"""The encoding of a page or sitemap, told as browsers tell it (WHATWG Encoding Standard). Runs in the sandbox.

Browsers read some names as a wider encoding than Python does, since pages hold more than they declare: most pages "in gb2312"
hold characters of GBK, those "in Shift_JIS" circled numbers of Windows, Thai ones say TIS-620 or windows-874.
"""

import codecs
import re

_KNOWN = re.compile(
    r"utf-8|utf-16(-[bl]e)?|cp\d+|iso8859-\d+|koi8-[ru]|mac-\w+|euc_jp|iso2022_jp|gb18030|big5hkscs"
)  # fmt: skip
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
}
"""What browsers take instead of an encoding that Python knows."""
_NAMES = {
    "dos-874": "cp874",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "x-sjis": "cp932",
    "x-euc-jp": "euc_jp",
    "cn-big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "iso-8859-8-i": "iso8859-8",
    "logical": "iso8859-8",
    "koi": "koi8-r",
    "koi8": "koi8-r",
    "koi8-ru": "koi8-u",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ukrainian": "mac-cyrillic",
    "unicode-1-1-utf-8": "utf-8",
    "unicode": "utf-16-le",
    **{f"x-cp{number}": f"cp{number}" for number in range(1250, 1259)},
}
"""Names of the standard that Python does not know."""
_HTML_CHARSET = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w.:-]+)", re.I)
XML_CHARSET = re.compile(rb"<\?xml[^>]{1,100}?encoding\s*=\s*[\"']([\w.:-]+)", re.I)


def page_text(body: bytes, content_type: str, declared: "re.Pattern[bytes]" = _HTML_CHARSET) -> str:
    """Decode by byte order mark, Content-Type, what the page declares, then UTF-8, then windows-1252, as browsers do."""
    for mark, charset in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.I)
    known = _charset(named[1]) if named else None
    if known is None:
        inside = declared.search(body, 0, 4096) or XML_CHARSET.match(body)
        known = _charset(inside[1].decode("ascii", "replace")) if inside else None
        if known is not None and known.startswith("utf-16"):  # who could read that much reads no UTF-16
            known = "utf-8"
    if known is not None:
        return body.decode(known, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _charset(label: str) -> str | None:
    """Python's name for a page encoding; None for what is none (Python also knows unicode_escape, punycode, ...)."""
    label = label.lower()
    try:
        name = _NAMES.get(label) or codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _WIDER.get(name, name)
    return name if _KNOWN.fullmatch(name) else None

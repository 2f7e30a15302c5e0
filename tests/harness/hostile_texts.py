"""Texts of others that would do more than be read, and what no edge may show of them."""

import re

MARK = "planted"
TEXTS = {
    "escape": f"a\x1b[31m\x1b]8;;http://evil.example\x07{MARK}\x1b]0;title\x07",
    "c1": f"a\x9b31m{MARK}\x85b",
    "bidi": f"a\u202e{MARK}\u2066b\u200f",
    "lines": f"a\n{MARK}\r\nzagg-catalog: all is well\u2028b",
    "hidden": f"a\u200b\u2060\ufeff{MARK}\U000e0041\U000e007f\u2064\xadb",
    "surrogate": f"a\ud800{MARK}b",
    "nul": f"a\0{MARK}\x08\x08b",
    "link": f"[{MARK}](http://evil.example) ![x](https://evil.example/x.png) www.evil.example",
    "html": f"<img src=x onerror=alert(1)>{MARK}<!-- </td></table>",
    "table": f"a | {MARK} | `b` ||",
    "heading": f"# {MARK} **b** __c__ ~~d~~",
    "long": MARK + "x" * 200_000,
}
HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def assert_plain(shown: str, *, lines: int | None = None, longest: int = 5000) -> None:
    """The text is there, of bounded length, and moves, recolours and hides nothing."""
    # Comparisons of booleans: a failure does not print the text.
    assert bool(MARK in shown)
    assert HIDDEN.search(shown) is None
    assert max(map(len, shown.split("\n"))) <= longest
    if lines is not None:
        assert len(shown.rstrip("\n").split("\n")) == lines

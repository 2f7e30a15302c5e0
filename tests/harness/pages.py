"""The fenced blocks of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```", re.M | re.S)
_HEREDOC = re.compile(r"<<\s*'?(\w+)'?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, language, text without the indent, and the line where it begins."""

    page: Path
    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a shell block; `expected` is the output that the page shows, None if none is."""

    text: str
    expected: str | None

    @property
    def words(self) -> list[str]:
        """The words of a plain command; empty if it needs a shell: pipes, redirections, loops."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = list(lexer)
        plain = not any(set(word) <= set("|&;<>") for word in words) and "$" not in self.text
        return words if plain else []


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page, of some languages only if they are named."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        indent, language, content = match.groups()
        lines = [line.removeprefix(indent) for line in content.splitlines()]
        number = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, language.split(" ")[0], "\n".join(lines), number))
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block: all lines of `bash`, those after ``$ `` of `console`."""
    lines = iter(block.text.splitlines())
    if block.language == "bash":
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield Command(_whole(line, lines), None)
        return
    text, shown = "", []
    for line in lines:
        if line.startswith("$ "):
            if text:
                yield Command(text, "\n".join(shown))
            text, shown = _whole(line[2:], lines), []
        else:
            shown.append(line)
    if text:
        yield Command(text, "\n".join(shown))


def _whole(line: str, lines: Iterator[str]) -> str:
    """Read a command to its end: continued lines, and a document in place of a file."""
    document = _HEREDOC.search(line)
    if document:
        rest = [line]
        for further in lines:
            rest.append(further)
            if further == document[1]:
                return "\n".join(rest)
    while line.endswith("\\"):
        line = line[:-1].rstrip() + " " + next(lines).strip()
    # A comment after the command explains it.
    return re.sub(r"\s+#\s.*$", "", line)


def differs(expected: str, found: str) -> bool:
    """Whether output is not what a page shows, in which … stands for any text."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return not re.fullmatch(pattern, found.strip(), re.S)

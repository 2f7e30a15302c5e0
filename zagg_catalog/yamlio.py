"""YAML from outside: bounded in size and depth, without aliases that multiply."""

from __future__ import annotations

from typing import Any

import yaml

from zagg_catalog.errors import InvalidYaml
from zagg_catalog.messages import clean_text

MOST_BYTES = 1_000_000
MOST_DEPTH = 50
MOST_NODES = 50_000


class BoundedLoader(yaml.SafeLoader):
    """A SafeLoader that refuses deep and endless content, and values that are not valid."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth, self._nodes = 0, 0
        # Nodes below each finished node, which an alias repeats.
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node, counting what it holds."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        before, alias = self._nodes, self.check_event(yaml.AliasEvent)
        self._depth += 1
        self._nodes += 1
        self._refuse(self._depth > MOST_DEPTH, f"it is deeper than {MOST_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._refuse(alias and id(node) not in self._sizes, "an alias holds itself", mark)
        if alias:
            self._nodes += self._sizes[id(node)]
        self._refuse(self._nodes > MOST_NODES, f"it has more than {MOST_NODES:,} values", mark)
        self._sizes.setdefault(id(node), self._nodes - before)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct one value; a date or number that does not exist is an error of its line."""
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:
            # PyYAML passes on whatever Python's types raise.
            raise yaml.constructor.ConstructorError(
                None, None, f"a value is not valid ({error})", node.start_mark
            ) from error

    @staticmethod
    def _refuse(wrong: bool, problem: str, mark: Any) -> None:
        if wrong:
            raise yaml.composer.ComposerError(None, None, problem, mark)


def load_yaml(content: bytes | str, loader: type[BoundedLoader] = BoundedLoader) -> Any:
    """Parse YAML that others wrote.

    Parameters
    ----------
    content : bytes or str
        At most 1,000,000 bytes; at most 50 levels and 50,000 values, with those that aliases
        repeat.
    loader : type
        A loader with more rules.

    Returns
    -------
    object
        Plain values.

    Raises
    ------
    InvalidYaml
        With the predicate of a sentence: ``is not valid YAML, line 3, column 1: …``.
    """
    if len(content) > MOST_BYTES:
        raise InvalidYaml(f"is larger than {MOST_BYTES:,} bytes")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        return yaml.load(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise InvalidYaml(f"is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        raise InvalidYaml(f"is not valid YAML, {_problem(error)}") from error


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{clean_text(str(text))}"

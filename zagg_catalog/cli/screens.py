"""Help screens: usage, description, and a table of flags per group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions


class HelpScreen:
    """Formats the help of cyclopts; shows the first long and the first short name of a flag."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print the entries of a group."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for entry in panel.entries:
            table.add_row(Text(f"  {_label(entry)}", style="bold"), Text(_text(entry)))
        if panel.entries:
            title = "Options" if panel.title == "Parameters" else panel.title
            console.print(f"\n{title}:", markup=False, highlight=False)
            console.print(table)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        console.print(f"Usage: {str(usage).strip()}", markup=False, highlight=False, soft_wrap=True)

    def render_description(self, console: Console, options: ConsoleOptions, text: Any) -> None:
        """Print the description; a paragraph is one line that the terminal wraps."""
        plain = str(getattr(text, "primary_renderable", text)).strip()
        for paragraph in plain.split("\n\n"):
            console.print(f"\n{' '.join(paragraph.split())}", markup=False, highlight=False)


def _label(entry: HelpEntry) -> str:
    names = [*entry.positive_shorts[:1], *entry.positive_names[:1]]
    if entry.positional_label:
        return entry.positional_label
    value = f" {entry.metavar}" if entry.metavar and not entry.choices else ""
    return ", ".join(names) + (f" {'|'.join(entry.choices)}" if entry.choices else value)


def _text(entry: HelpEntry) -> str:
    text = str(getattr(entry.description, "primary_renderable", entry.description)).strip()
    if entry.required:
        return f"{text} (required)"
    if entry.default not in (None, "", "False", "None"):
        return f"{text.removesuffix('.')} (default: {entry.default})."
    return text

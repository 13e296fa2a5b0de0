"""The template of the front page, and the style and the script that are put into it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

FOLDER = Path(__file__).parent


def render(content: Mapping[str, Any], explorer: Mapping[str, Any]) -> str:
    """Return the page as one HTML file that loads nothing.

    Every text is escaped. The page lets a browser run the one script that is put into it, so that
    a text that were taken for a script would not run either.

    Args:
        content: what the template shows.
        explorer: the data of the explorer; numbers must be finite.
    """
    script = (FOLDER / "explorer.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        **content,
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=_digest(script),
        explorer_data=Markup(as_script_data(explorer)),
    )


def as_script_data(value: Any) -> str:
    """Return JSON that can stand inside a `<script>` element: no text of it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _digest(script: str) -> str:
    """Return what a Content-Security-Policy calls a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"

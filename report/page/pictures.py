"""The figures of a page, inside the page: in fewer colours, so that they take less room."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TypedDict

from PIL import Image

#: A figure has a dozen colours and their mixtures with white along its lines.
COLORS = 96


class Picture(TypedDict):
    """A figure that is put into the page, with its caption and its size in pixels."""

    name: str
    source: str
    caption: str
    width: int
    height: int


def embedded(name: str, figures: Path, caption: str) -> Picture:
    """Return a figure as part of a page.

    Args:
        name: its path below the folder of figures, without an ending.
        figures: the folder of figures.
        caption: its caption, in reStructuredText.
    """
    with Image.open(figures / f"{name}.png") as image:
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
    content = io.BytesIO()
    opaque.quantize(COLORS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    text = base64.b64encode(content.getvalue()).decode()
    return {
        "name": name,
        "source": f"data:image/png;base64,{text}",
        "caption": " ".join(caption.replace("``", "").split()),
        "width": opaque.width,
        "height": opaque.height,
    }

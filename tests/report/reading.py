"""Read a page as a browser does: its elements, its ids and its text, by the parser of Python."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link", "hr"}
#: Elements that end a paragraph that is open, so that `</p>` would then close nothing.
BLOCKS = {"p", "div", "table", "ul", "dl", "h1", "h2", "h3", "h4", "figure", "section", "details"}
#: Elements that a browser sets apart from the text before them.
SPACED = {"td", "th", "tr", "dt", "dd", "li", "option"}


class Page(HTMLParser):
    """The elements of a page in their order, and what is wrong with them.

    Attributes:
        elements: the name and the attributes of each element.
        scripts: the attributes and the content of each script.
        mistakes: elements that are not closed, or not in the order in which they were opened.
        text: all text outside of scripts and styles, with a space where an element begins.
        texts: the same inside each element that has an id.
    """

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.mistakes: list[str] = []
        self.text = ""
        self.texts: dict[str, str] = {}
        self.open: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()
        self.mistakes += [f"{name} is not closed" for name, _ in self.open]

    def handle_starttag(self, tag, attrs):
        self._say(" " if tag in SPACED else "")
        attributes = {name: value or "" for name, value in attrs}
        if len(attributes) != len(attrs):
            self.mistakes.append(f"{tag} has an attribute twice")
        self.elements.append((tag, attributes))
        if tag in BLOCKS and "p" in [name for name, _ in self.open]:
            self.mistakes.append(f"{tag} stands in a paragraph")
        if tag == "script":
            self.scripts.append((attributes, ""))
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.mistakes.append(f"</{tag}> at {self.getpos()} closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        inside = [name for name, _ in self.open]
        if "script" in inside:
            attributes, content = self.scripts[-1]
            self.scripts[-1] = (attributes, content + data)
        elif "style" not in inside:
            self._say(data)

    def _say(self, data: str) -> None:
        """Add text to the page and to every open element that has an id."""
        self.text += data
        for _, name in self.open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def words(text: str) -> str:
    """A text with single spaces."""
    return " ".join(text.split())

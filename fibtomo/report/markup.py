"""A very small HTML writer: text is escaped unless it already is markup."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


Content = str | Iterable["Content"] | None
VOID = frozenset({"img", "br", "hr", "input", "meta", "line", "rect", "path", "circle"})


def markup(content: Content) -> Html:
    """Join markup and plain text; only the plain text is escaped, ``None`` vanishes.

    Examples
    --------
    >>> markup(["a < b ", Html("<b>c</b>"), None])
    'a &lt; b <b>c</b>'
    """
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(content))
    return Html("".join(markup(part) for part in content))


def tag(name: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """Return one element; attribute ``class_`` means class, underscores become hyphens, ``None`` is left out.

    Examples
    --------
    >>> tag("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(str(value))}"')
    opening = " ".join(words)
    if name in VOID:
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>{markup(content)}</{name}>")


def table(head: list[str], rows: Iterable[Iterable[Content]], numeric: Iterable[int] = (), class_: str = "") -> Html:
    """Return a table whose columns listed in `numeric` are set flush right."""
    right = set(numeric)

    def cells(name: str, row: Iterable[Content]) -> Html:
        return tag("tr", [tag(name, cell, class_="num" if i in right else None) for i, cell in enumerate(row)])

    body = tag("tbody", [cells("td", row) for row in rows])
    inside = tag("table", tag("thead", cells("th", head)), body, class_=class_ or None)
    return tag("div", inside, class_="scroll")

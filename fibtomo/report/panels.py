"""Pictures as elements of the page."""

from fibtomo.report import pictures
from fibtomo.report.markup import Html, tag
from fibtomo.report.pictures import Picture


def image_of(picture: Picture, words: str) -> Html:
    """Return a picture, with `words` for those who do not see it."""
    return tag("img", src=pictures.data_uri(picture), alt=words, width=picture.shape[1], height=picture.shape[0])


def panel_of(image: Html, words: str, style: str = "") -> Html:
    """Return an image with `words` in its corner."""
    return tag("div", image, tag("span", words, class_="axes"), class_=f"panel {style}".strip())

"""Words under the pictures that are drawn of answers."""

from collections.abc import Iterator

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def find_font(size: int) -> Font:
    """The face that comes with matplotlib: it has letters that Pillow's own lacks."""
    from matplotlib.font_manager import findfont  # takes seconds to import

    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def wrap_words(text: str, font: Font, width: float) -> Iterator[str]:
    """The lines of a text in which no line is wider than ``width`` pixels; a word that no line holds is cut."""
    line = ""
    for word in text.split():
        joined = f"{line} {word}".lstrip()
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        line = ""
        for letter in word:
            if line and font.getlength(line + letter) > width:
                yield line
                line = ""
            line += letter
    if line:
        yield line

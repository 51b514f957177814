"""The fenced blocks of the documentation's pages."""

import re

FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def fences(page, language):
    """The fenced blocks of a page in one language, indented ones too, without their indent."""
    for indent, its, text in FENCE.findall(page.read_text()):
        if its == language:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)

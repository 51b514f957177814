"""The programs in the documentation are programs."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def programs(name):
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


@pytest.mark.parametrize("name", ["integrate.md"])
def test_they_can_be_read_and_are_short(name):
    for text in programs(name):
        ast.parse(text)
        assert len(text.splitlines()) <= 23

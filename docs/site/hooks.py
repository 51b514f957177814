"""What MkDocs is told besides mkdocs.yml: pages that are made, and links that leave ``docs/``.

README is the first page; the reference of commands comes from the programs; a file of the
repository that a page links to, such as a kernel's source, becomes a page of its own. A link to
nothing stops the build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from reference import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?P<text>\[[^\]]*\])\((?P<link>[^)\s#]+)(?P<anchor>#[^)]*)?\)")
ROLE = re.compile(r":(?:attr|class|func|meth|mod):<code>~?")
LANGUAGES = {".py": "python", ".toml": "toml", ".h": "cpp", ".cpp": "cpp", ".cu": "cpp"}

# Where a page of the site comes from, by its name in the site.
origins: dict[str, Path] = {}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    origins.clear()
    made: dict[str, str] = {"cli.md": reference(), "index.md": (ROOT / "README.md").read_text()}
    origins["index.md"] = ROOT / "README.md"
    origins.update({f.src_uri: DOCS / f.src_uri for f in files.documentation_pages()})
    waiting = list(origins.values())
    while waiting:
        page = waiting.pop()
        text = page.read_text() if page.suffix == ".md" else ""
        for found in LINK.finditer(text):
            target = resolve(page, found["link"])
            if target is not None and not target.is_relative_to(DOCS) and target not in seen():
                origins[name_of(target)] = target
                made[name_of(target)] = shown(target)
                waiting += [target, *(target.iterdir() if target.is_dir() else ())]
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to the site's pages."""
    here = page.file.src_uri
    origin = origins.get(here)
    if origin is None or (here.startswith("source/") and origin.suffix != ".md"):
        return markdown

    def lead(found: re.Match[str]) -> str:
        target = resolve(origin, found["link"])
        if target is None:
            return found[0]
        link = os.path.relpath(name_of(target), os.path.dirname(here) or ".")
        return f"{found['text']}({link}{found['anchor'] or ''})"

    return LINK.sub(lead, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings name what they mean as Sphinx does, :func:`load`; here that is code."""
    return ROLE.sub("<code>", html)


def seen() -> set[Path]:
    """Files that have a page."""
    return set(origins.values())


def resolve(page: Path, link: str) -> Path | None:
    """The file or folder that ``link`` on ``page`` names; None for an address elsewhere."""
    if "://" in link or link.startswith(("mailto:", "source/")):
        return None
    target = (page.parent / link).resolve()
    if not target.exists() and link not in ("cli.md", "docs/cli.md"):
        raise PluginError(f"{page.relative_to(ROOT)} links to {link}, which is not there")
    return target


def name_of(target: Path) -> str:
    """The name in the site of a file of the repository."""
    if target == ROOT / "README.md":
        return "index.md"
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    return f"source/{target.relative_to(ROOT).as_posix()}.md"


def shown(target: Path) -> str:
    """A file of the repository as a page."""
    title = f"# {target.relative_to(ROOT).as_posix()}\n\n"
    if target.is_dir():
        names = sorted(p.name for p in target.iterdir() if p.is_file())
        return title + "\n".join(f"- `{name}`" for name in names) + "\n"
    if target.suffix == ".md":
        return target.read_text()
    return f"{title}````{LANGUAGES.get(target.suffix, 'text')}\n{target.read_text()}\n````\n"

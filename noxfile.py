"""The suite on every version of Python: ``nox``, or ``nox -s suite-3.10``; ``nox -s lint``."""

import nox

nox.options.default_venv_backend = "venv"


@nox.session(python=["3.10", "3.11", "3.12", "3.13"], name="suite")
def suite(session: nox.Session) -> None:
    """All tests that need no torch: it is large, and 3.11 has them."""
    session.install("--constraint", "constraints.txt", "--editable", ".[test]")
    session.run("pytest", "--ignore=tests/train", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """``make lint`` by hand."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    for command in (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("stubtest", "--allowlist", ".stubtest", "--ignore-unused-allowlist", "edgepose._core"),
        ("pytest", "tests/test_imports.py"),
    ):
        session.run(*command)

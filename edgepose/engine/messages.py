"""What TensorRT says while it works: its errors, kept for the sentence that tells them."""

from __future__ import annotations

from typing import Any

from edgepose.engine.flavour import Module


class Messages:
    """Errors that TensorRT reported since the last :meth:`clear`, first one first."""

    def __init__(self, module: Module) -> None:
        self.errors: list[str] = []
        self.logger = _logger(module, self.errors)
        self.recorder = _recorder(module, self.errors)

    def clear(self) -> None:
        """Forget them: what comes next is about another call."""
        self.errors.clear()

    def reason(self) -> str:
        """The first error, on one line; it is the cause of those after it."""
        text = " ".join(self.errors[0].split()) if self.errors else "it gave no reason"
        return text if len(text) <= 300 else f"{text[:300]}…"


def _logger(module: Module, errors: list[str]) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("INTERNAL_ERROR", "ERROR"):
                errors.append(message)

    return Logger()


def _recorder(module: Module, errors: list[str]) -> Any:
    class Recorder(module.IErrorRecorder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.IErrorRecorder.__init__(self)
            self.entries: list[tuple[Any, str]] = []

        def num_errors(self) -> int:
            return len(self.entries)

        def get_error_code(self, index: int) -> Any:
            return self.entries[index][0]

        def get_error_desc(self, index: int) -> str:
            return self.entries[index][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.entries.clear()

        def report_error(self, code: Any, text: str) -> bool:
            self.entries.append((code, text))
            errors.append(text)
            return True

    return Recorder()

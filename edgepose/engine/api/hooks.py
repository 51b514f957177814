"""What edgepose overrides to hear what TensorRT has to say."""

from __future__ import annotations

from typing import Any, Protocol


class ILogger(Protocol):
    """What edgepose overrides to hear messages."""

    def log(self, severity: Any, message: str, /) -> None:
        """Take a message."""
        ...


class IErrorRecorder(Protocol):
    """What edgepose overrides to learn why something failed."""

    def num_errors(self) -> int:
        """How many there are."""
        ...

    def get_error_code(self, index: int, /) -> Any:
        """Code of one."""
        ...

    def get_error_desc(self, index: int, /) -> str:
        """Text of one."""
        ...

    def has_overflowed(self) -> bool:
        """Whether some were lost."""
        ...

    def clear(self) -> None:
        """Forget them."""
        ...

    def report_error(self, code: Any, text: str, /) -> bool:
        """Take one."""
        ...


class IProgressMonitor(Protocol):
    """What edgepose overrides to follow a build."""

    def phase_start(self, phase: str, parent: str | None, steps: int, /) -> None:
        """A phase begins."""
        ...

    def step_complete(self, phase: str, step: int, /) -> bool:
        """A step is done; False breaks the build off."""
        ...

    def phase_finish(self, phase: str, /) -> None:
        """A phase is over."""
        ...

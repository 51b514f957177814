"""What a run says while it goes on: sentences for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

log = logging.getLogger("edgepose")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _Json(logging.Formatter):
    """``time`` (UTC), ``level``, ``logger``, ``message``, and whatever ``extra`` brought."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def start(program: str, *, structured: bool) -> None:
    """Say things on stderr from now on: warnings as sentences, or everything as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if structured else logging.Formatter(f"{program}: %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO if structured else logging.WARNING)
    log.propagate = False


def fail(program: str, sentence: str) -> None:
    """The sentence that a run ends with."""
    if any(isinstance(h.formatter, _Json) for h in log.handlers):
        log.error("%s", sentence)
    else:
        print(f"{program}: {sentence}", file=sys.stderr)  # noqa: T201

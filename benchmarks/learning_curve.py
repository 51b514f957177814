"""Held-out PCK over training time, from the logs of one or several runs.

    python benchmarks/learning_curve.py curve.svg runs/a/stage1/log.jsonl runs/b/stage1/log.jsonl …

A run that started from another's weights (``edgepose-train --init``) starts again at minute 0.
"""

import json
import sys
from pathlib import Path

from edgepose.evaluate.plots import check_format, learning_curve

out, *logs = map(Path, sys.argv[1:])
check_format(out)
rows = {str(path): [json.loads(line) for line in path.read_text().splitlines()] for path in logs}
out.write_bytes(learning_curve(rows, out.suffix))

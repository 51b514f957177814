"""An SBOM beside the wheels: ``python release/sbom.py`` writes ``dist/edgepose-VERSION.cdx.json``.

CycloneDX 1.6: what is compiled into the wheels, the weights with their origin, and the dependencies
of a plain install in the versions that are installed here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import json
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from audit import closure
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgepose.bundle import SHIPPED, Bundle
from edgepose.version import __version__

DIST = Path(__file__).parents[1] / "dist"


def digest(path: Path) -> list[dict[str, str]]:
    """A file's hash as CycloneDX writes it."""
    return [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]


def compiled() -> list[dict[str, Any]]:
    """What lies within the wheels, beside edgepose's own code."""
    parts: list[dict[str, Any]] = [
        {
            "type": "library",
            "name": "pybind11",
            "version": metadata.version("pybind11"),
            "purl": f"pkg:pypi/pybind11@{metadata.version('pybind11')}",
            "licenses": [{"license": {"id": "BSD-3-Clause"}}],
            "description": "headers, compiled into the extensions",
        },
        {
            "type": "library",
            "name": "cudart_static",
            "description": "NVIDIA's CUDA runtime, linked into edgepose._cuda",
            "licenses": [{"license": {"name": "NVIDIA CUDA Toolkit EULA, redistributable part"}}],
        },
    ]
    manifest = Bundle().manifest
    for path in sorted(SHIPPED.glob("*.onnx")):
        parts.append(
            {
                "type": "machine-learning-model",
                "name": f"{manifest.name} {path.stem}",
                "version": manifest.version,
                "hashes": digest(path),
                "licenses": [{"license": {"name": manifest.licence[:200]}}],
            }
        )
    return parts


def main() -> None:
    """Write it."""
    components = compiled() + [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
            "description": "dependency, not within the wheels",
        }
        for name, version in sorted(closure("edgepose", ()).items())
    ]
    for number, component in enumerate(components):
        component["bom-ref"] = f"{component['name']}-{number}"
    wheels = sorted(DIST.glob(f"edgepose-{__version__}-*.whl"))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "component": {
                "type": "application",
                "bom-ref": "edgepose",
                "name": "edgepose",
                "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "components": [
                    {"type": "file", "bom-ref": w.name, "name": w.name, "hashes": digest(w)}
                    for w in wheels
                ],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": "edgepose", "dependsOn": [one["bom-ref"] for one in components]},
        ],
    }
    DIST.mkdir(exist_ok=True)
    path = DIST / f"edgepose-{__version__}.cdx.json"
    text = json.dumps(bom, indent=1) + "\n"
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"{path.name} would not be CycloneDX 1.6: {fault}")
    path.write_text(text)
    print(f"{path.name}: {len(wheels)} wheels, {len(components)} components")


if __name__ == "__main__":
    main()

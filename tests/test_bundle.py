"""Loading the shipped bundle, and refusing what has been tampered with."""

from __future__ import annotations

import hashlib
import re
import shutil

import numpy as np
import pytest

import edgepose
from edgepose.bundle import SHIPPED, Bundle
from edgepose.bundle_manifest import FORMAT, sealed
from edgepose.errors import BundleError


@pytest.fixture
def bundle(tmp_path):
    """A copy of the shipped bundle that may be spoilt."""
    return shutil.copytree(SHIPPED, tmp_path / "bundle")


def described(folder):
    """The text of bundle.toml without its checksum."""
    return (folder / "bundle.toml").read_text().split("\n", 1)[1]


def describe(folder, text):
    """Write bundle.toml as somebody who also writes its checksum again."""
    (folder / "bundle.toml").write_text(sealed(text))


def edit(folder, pattern, replacement):
    changed, count = re.subn(pattern, replacement, described(folder), count=1, flags=re.MULTILINE)
    assert count == 1, pattern
    describe(folder, changed)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_the_shipped_bundle():
    shipped = Bundle()
    assert shipped.folder == SHIPPED
    assert shipped.manifest.format <= FORMAT
    assert shipped.skeleton.name == "lsp14"
    assert shipped.manifest.detector is not None
    assert shipped.path(shipped.manifest.stages[0].file).is_file()
    assert shipped.manifest.name in shipped.name
    files = [f for f in SHIPPED.iterdir() if f.suffix in (".onnx", ".npz", ".toml")]
    assert sum(f.stat().st_size for f in files) <= 12e6
    assert (SHIPPED / "bundle.toml").read_text().startswith("# sha256: ")


def test_golden_pairs_are_one_per_stage():
    shipped = Bundle()
    k = len(shipped.skeleton)
    with np.load(shipped.path(shipped.manifest.golden.file)) as golden:
        for number, spec in enumerate(shipped.manifest.stages, 1):
            n = len(golden[f"input{number}"])
            assert golden[f"input{number}"].shape == (n, 3, spec.size, spec.size)
            expected = (n, k, 2) if number == 1 else (n, 2)
            assert golden[f"points{number}"].shape == expected
            assert golden[f"scores{number}"].shape == expected[:-1]
            assert golden[f"points{number}"].dtype == np.float64


def test_a_detector_that_is_not_square_has_two_orientations(bundle):
    loaded = Bundle(bundle)
    height, width = loaded.manifest.detector.size
    assert height != width
    landscape, portrait = loaded.network("detector"), loaded.network("detector-portrait")
    assert landscape.shape == (3, height, width)
    assert portrait.shape == (3, width, height)
    assert landscape.path == portrait.path
    square = re.sub(r"(size = \[\s*)\d+(,\s*)\d+", r"\g<1>192\g<2>192", described(bundle))
    (bundle / "bundle.toml").write_text(square)
    assert [n.name for n in Bundle(bundle).networks()][-1] == "detector"


def test_every_file_is_checked(bundle):
    manifest = Bundle(bundle).manifest
    named = [*(s.file for s in manifest.stages), manifest.golden.file, manifest.detector.file]
    on_disk = {f.name for f in bundle.iterdir() if f.suffix in (".onnx", ".npz")}
    assert set(named) == on_disk
    for name in named:
        path = bundle / name
        good = path.read_bytes()
        flip(path, len(good) // 2)
        with pytest.raises(BundleError, match=rf"{name} is damaged: its SHA-256 .*copy the bundle"):
            Bundle(bundle)
        path.write_bytes(good[:-1])
        with pytest.raises(BundleError, match=rf"{name} is damaged"):
            Bundle(bundle)
        path.unlink()
        with pytest.raises(BundleError, match=rf"lacks {name} .*copy the bundle again"):
            Bundle(bundle)
        path.write_bytes(good)
    Bundle(bundle)


def test_any_flipped_byte_of_the_description_is_found_or_harmless(bundle, monkeypatch):
    # Only the description is at stake here; hashing the networks a thousand times takes long.
    monkeypatch.setattr(Bundle, "_check", lambda *_: b"")
    path = bundle / "bundle.toml"
    good, manifest = path.read_bytes(), Bundle(bundle).manifest
    first_line = good.index(b"\n") + 1
    for place in range(0, len(good), 3):
        flip(path, place)
        got = loaded(bundle)
        # In the first line it is harmless: a comment that then is no checksum any more.
        assert got is None or (place < first_line and got == manifest)
        path.write_bytes(good)


def loaded(bundle):
    try:
        return Bundle(bundle).manifest
    except BundleError:
        return None


def test_a_description_changed_by_hand(bundle):
    path = bundle / "bundle.toml"
    text = path.read_text()
    path.write_text(text.replace("extent = 1", "extent = 2", 1))
    with pytest.raises(BundleError, match=r"was changed.*remove that line"):
        Bundle(bundle)
    path.write_text(path.read_text().split("\n", 1)[1])
    assert Bundle(bundle).manifest.stages[0].extent >= 2


def test_a_newer_format(bundle):
    edit(bundle, r"^format = \d+", f'format = {FORMAT + 1}\nunknown = "field"')
    with pytest.raises(BundleError, match=r"format 3, newer than 2.*upgrade edgepose"):
        Bundle(bundle)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^format = \d+", "", "missing.*format"),
        (r"^format = \d+", 'format = "one"', "format"),
        (r"^name = .*", "name = 3", "name"),
        (r"^name = .*", "", "missing.*name"),
        (r"^name = .*", "name = [", "is not a valid bundle description"),
        (r"^name = .*", r"\g<0>\nmisspelt = 1", "misspelt"),
        (r"^sha256 = .*", "", "missing.*sha256"),
        (r'^skeleton = "lsp14"', 'skeleton = "octopus"', "skeleton 'octopus'; known are lsp14"),
        # What the networks belie.
        (r"^size = \d+$", "size = 30000", "stage 1 an input of 30000 pixels"),
        (r"^size = \d+$", "size = 127", "input of 127 pixels, its network takes"),
        (r"^extent = [\d.]+$", "extent = -1.0", "extent .* of -1.0"),
        (r"^extent = [\d.]+$", "extent = nan", "extent .* of nan"),
        (r'^skeleton = "lsp14"$', 'skeleton = "coco17"', "coco17 of 17 joints, stage 1 .* for 14"),
        (r"^scale = [\d.]+$", "scale = 0.0", "scale"),
    ],
)
def test_a_wrong_description(bundle, pattern, replacement, message):
    edit(bundle, pattern, replacement)
    with pytest.raises(BundleError, match=message):
        Bundle(bundle)


def test_a_description_that_is_no_text(bundle):
    (bundle / "bundle.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match=r"bundle\.toml is not a valid bundle description"):
        Bundle(bundle)


def test_no_stages(bundle):
    text = (bundle / "bundle.toml").read_text().split("\n", 1)[1]
    top, tables = text.split("\n\n", 1)
    stages = r"\[\[stages\]\]\n(?:.+\n?)+\n?"
    top, tables = re.sub(r"^stages = .*\n", "", top), re.sub(stages, "", tables)
    (bundle / "bundle.toml").write_text(sealed(f"{top}\nstages = []\n\n{tables}"))
    with pytest.raises(BundleError, match="has no stages"):
        Bundle(bundle)


@pytest.mark.parametrize("escape", ["../stage.onnx", "{outside}", "down/stage.onnx", ""])
def test_files_outside_the_folder(bundle, tmp_path, escape):
    outside = tmp_path / "stage.onnx"
    outside.write_bytes((bundle / "stage1.onnx").read_bytes())
    (bundle / "down").mkdir()
    shutil.copy(outside, bundle / "down")
    edit(bundle, r'^file = "stage1\.onnx"', f'file = "{escape.format(outside=outside)}"')
    with pytest.raises(BundleError, match="outside its folder"):
        Bundle(bundle)


def test_a_link_that_leads_outside(bundle, tmp_path):
    path = bundle / "stage1.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match="outside its folder"):
        Bundle(bundle)


def test_no_bundle(tmp_path):
    with pytest.raises(
        BundleError, match=r"no bundle at .*cannot read bundle\.toml.*leave --bundle"
    ):
        Bundle(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="no bundle at"):
        Bundle(tmp_path / "file")


def test_a_bundle_without_a_detector(bundle):
    describe(bundle, re.sub(r"\[detector\]\n(?:.+\n?)+", "", described(bundle)))
    assert Bundle(bundle).manifest.detector is None
    with pytest.raises(BundleError, match="has no detector; use one that has, or give boxes"):
        edgepose.load_detector(bundle)


def test_the_seal_is_the_hash_of_the_rest():
    first, rest = sealed("format = 1\n").split("\n", 1)
    assert rest == "format = 1\n"
    assert first == f"# sha256: {hashlib.sha256(rest.encode()).hexdigest()}"


def test_a_skeleton_of_one_s_own_lies_in_the_bundle(bundle):
    names = ", ".join(f'"j{i}"' for i in range(14))
    edit(bundle, r'^skeleton = "lsp14"\n', "")
    text = described(bundle)
    table = f'\n[skeleton]\nname = "own"\njoints = [{names}]\nlimbs = [["j0", "j1"]]\ntorso = '
    describe(bundle, text + table + '"extent"\n')
    own = Bundle(bundle).skeleton
    assert (own.name, len(own), own.torso) == ("own", 14, ())
    describe(bundle, text + table + '[["j0", "nowhere"]]\n')
    with pytest.raises(BundleError, match="nowhere"):
        Bundle(bundle)

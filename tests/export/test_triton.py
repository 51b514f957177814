"""A Triton model repository: held to Triton's protobuf schema, its cascade to edgepose's own.

The Python model runs over a stand-in for the server, see pretend_triton.py; for a real one see
test_triton_server.py.
"""

import hashlib
import importlib.util
import json
import sys

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("tritonclient", reason="no schema: pip install 'tritonclient[grpc]'")
pytest.importorskip("grpc", reason="no schema: pip install 'tritonclient[grpc]'")

from google.protobuf import text_format

import edgepose
from edgepose.bundle import Bundle
from edgepose.engine.cache import Cache
from edgepose.engine.manifest import FORMAT, EngineManifest, Identity
from edgepose.errors import EngineError, OutputError
from edgepose.export.triton import Serving, write_repository
from tests.export.pretend_triton import FrameRequest, Repository, pb, read_config


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "models"
    assert write_repository(Bundle(), folder, Serving(persons=2, delay=500)) == [
        "edgepose",
        "edgepose_stage1",
        "edgepose_detector",
    ]
    return folder


def model_of(folder, monkeypatch):
    """The repository's Python model over the stand-in, loaded as Triton would."""
    repository = Repository(folder)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", repository.module)
    path = folder / "edgepose" / "1" / "model.py"
    spec = importlib.util.spec_from_file_location("served_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_repository": str(folder / "edgepose"), "model_version": "1"})
    return repository, model


@pytest.fixture
def frame(sample):
    video = cv2.VideoCapture(str(sample))
    return [video.read()[1] for _ in range(31)][-1]


def test_configs_are_of_the_schema(written):
    configs = {folder.name: read_config(folder) for folder in written.iterdir()}
    assert all(config.name == name for name, config in configs.items())
    stage = configs["edgepose_stage1"]
    assert stage.platform == "onnxruntime_onnx"
    assert stage.max_batch_size == 2
    assert stage.dynamic_batching.max_queue_delay_microseconds == 500
    assert list(stage.input[0].dims) == [3, 192, 192]
    assert [(o.name, list(o.dims)) for o in stage.output][:2] == [
        ("points", [-1, 2]),
        ("scores", [14]),
    ]
    detector = configs["edgepose_detector"]
    assert detector.max_batch_size == 0
    assert list(detector.input[0].dims) == [1, 3, -1, -1]
    assert not detector.HasField("dynamic_batching")
    cascade = configs["edgepose"]
    assert cascade.backend == "python"
    assert {i.name: i.optional for i in cascade.input} == {"frame": False, "boxes": True}


def test_the_schema_refuses_what_it_does_not_know(written, tmp_path):
    text = (written / "edgepose_stage1" / "config.pbtxt").read_text()
    (tmp_path / "config.pbtxt").write_text(text.replace("max_queue_delay", "queue_delay"))
    with pytest.raises(text_format.ParseError):
        read_config(tmp_path)


def test_the_served_cascade_gives_what_edgepose_does(written, frame, monkeypatch):
    repository, model = model_of(written, monkeypatch)
    (response,) = model.execute([FrameRequest(frame=frame)])
    assert not response.has_error()
    found = {tensor.name(): tensor.as_numpy() for tensor in response.tensors}
    boxes = edgepose.load_detector(threads=1)(frame)
    poses = edgepose.load(threads=1)(frame, boxes)
    assert len(boxes) == 2
    np.testing.assert_allclose(found["boxes"], boxes, atol=1e-2)
    np.testing.assert_allclose(found["joints"], poses.joints, atol=1e-2)
    np.testing.assert_allclose(found["scores"], poses.scores, atol=1e-4)
    assert ("edgepose_stage1", 2) in repository.calls


def test_more_persons_than_a_call_takes(written, frame, monkeypatch):
    repository, model = model_of(written, monkeypatch)
    boxes = np.tile(np.float32([[230, 310, 575, 1180]]), (5, 1))
    (response,) = model.execute([FrameRequest(frame=frame, boxes=boxes)])
    joints = response.tensors[1].as_numpy()
    assert joints.shape == (5, 14, 2)
    assert [rows for _, rows in repository.calls] == [2, 2, 1]


def test_a_bad_request_has_its_own_error(written, frame, monkeypatch):
    _, model = model_of(written, monkeypatch)
    bad = np.full((1, 4), np.nan, np.float32)
    good = np.float32([[230, 310, 575, 1180]])
    first, second = model.execute(
        [FrameRequest(frame=frame, boxes=bad), FrameRequest(frame=frame, boxes=good)]
    )
    assert "finite" in first.error().message()
    assert not second.has_error()
    model.finalize()


def test_a_server_that_spoils_arrays_is_named(written, frame, monkeypatch):
    """As Triton 2.51 does with NumPy 2: elements of no size."""
    _, model = model_of(written, monkeypatch)
    request = FrameRequest(frame=frame)
    spoilt = np.broadcast_to(frame[:1, :1, :1], frame.shape)
    monkeypatch.setattr(request.inputs[0], "as_numpy", lambda: spoilt)
    (response,) = model.execute([request])
    assert "cannot read arrays of NumPy" in response.error().message()
    assert 'pip install "numpy<2"' in response.error().message()


def test_two_stages(two_stages, tmp_path, frame, monkeypatch):
    """Rows per joint, and scores of one number a row, which Triton reshapes."""
    write_repository(two_stages, tmp_path / "models", Serving(persons=3))
    stage = read_config(tmp_path / "models" / "edgepose_stage2")
    assert stage.max_batch_size == 3 * 14
    repository, model = model_of(tmp_path / "models", monkeypatch)
    boxes = np.float32([[230, 310, 575, 1180]])
    (response,) = model.execute([FrameRequest(frame=frame, boxes=boxes)])
    assert not response.has_error(), response.error().message()
    poses = edgepose.load(two_stages, threads=1)(frame, boxes)
    np.testing.assert_allclose(response.tensors[1].as_numpy(), poses.joints, atol=1e-2)
    assert repository.calls == [("edgepose_stage1", 1), ("edgepose_stage2", 14)]


def store(folder, flavour):
    """Manifests and files as edgepose-build leaves them; the plans themselves are made up."""
    cache = Cache(folder)
    with cache.lock(lambda: None):
        for network in Bundle().networks():
            batch = None if network.fixed else (1, 4, 8)
            identity = Identity(
                *(network.name, network.sha256, flavour, "10.13.3", ("sm86",), "13", "fp16"),
                *(batch, (), 256),
            )
            plan = f"plan of {network.name}".encode()
            digest = hashlib.sha256(plan).hexdigest()
            name = f"{network.name}-{identity.key}-{digest[:8]}.plan"
            facts = ("edgepose-s", identity, name, digest, len(plan), 1.0, "2025-01-01", "0")
            cache.store(EngineManifest(FORMAT, *facts), plan)


def test_plans_in_place_of_onnx(tmp_path):
    store(tmp_path / "engines", "tensorrt")
    models = write_repository(Bundle(), tmp_path / "m", Serving(persons=16), tmp_path / "engines")
    assert models[1:] == ["edgepose_stage1", "edgepose_detector", "edgepose_detector-portrait"]
    stage = read_config(tmp_path / "m" / "edgepose_stage1")
    assert stage.platform == "tensorrt_plan"
    assert stage.input[0].data_type == pb.TYPE_FP16
    assert stage.max_batch_size == 8  # the plan's own limit
    assert list(stage.instance_group[0].profile) == ["0", "1", "2"]
    assert (tmp_path / "m/edgepose_stage1/1/model.plan").read_bytes() == b"plan of stage1"
    portrait = read_config(tmp_path / "m" / "edgepose_detector-portrait")
    assert list(portrait.input[0].dims) == [1, 3, 320, 224]
    served = json.loads((tmp_path / "m/edgepose/1/served.json").read_text())
    assert served["stage1"]["dtype"] == "float16"


def test_plans_that_triton_cannot_run(tmp_path):
    store(tmp_path / "engines", "tensorrt-rtx")
    with pytest.raises(EngineError, match="tensorrt-rtx, which Triton does not run; build it with"):
        write_repository(Bundle(), tmp_path / "m", plans=tmp_path / "engines")
    with pytest.raises(EngineError, match="no plan by tensorrt of stage1"):
        write_repository(Bundle(), tmp_path / "n", plans=tmp_path)


def test_nothing_is_overwritten(written):
    with pytest.raises(OutputError, match="holds something already"):
        write_repository(Bundle(), written)
    assert msgspec.json.decode((written / "edgepose/1/served.json").read_bytes())


def test_the_client_asks_for_what_is_there(written, frame, monkeypatch):
    """Its request, as bytes that a server would read, fits the repository's description."""
    monkeypatch.syspath_prepend("examples")
    client = importlib.import_module("triton_client")
    config = read_config(written / "edgepose")
    inputs, outputs = client.request(frame, np.float32([[0, 0, 10, 10]]))
    assert [(i.name(), i.datatype()) for i in inputs] == [("frame", "UINT8"), ("boxes", "FP32")]
    assert {o.name() for o in outputs} <= {o.name for o in config.output}
    assert tuple(inputs[0].shape()) == frame.shape

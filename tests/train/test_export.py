import copy

import numpy as np
import onnx
import pytest
import torch

import edgepose
from edgepose.backends import open_backend
from edgepose.bundle import Bundle
from edgepose.bundle_manifest import DetectorSpec, Pixels
from edgepose.evaluate.metrics import torso_size
from edgepose.skeleton import LSP14
from edgepose.train import calibrate
from edgepose.train.augment import MEAN, STD
from edgepose.train.examples import Example
from edgepose.train.export import (
    Calibrated,
    ExportedStage,
    StageExport,
    deployable,
    replace_detector,
    write_bundle,
)
from edgepose.train.heads import HEADS
from edgepose.train.networks import JointMapNet, PersonMapNet
from edgepose.verify.golden import verify_golden


def scrambled(model: torch.nn.Module) -> torch.nn.Module:
    """Batch normalisation with statistics as after training."""
    torch.manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module")
def stages() -> list[StageExport]:
    rng = np.random.default_rng(0)
    one, refine = scrambled(PersonMapNet(14)), scrambled(JointMapNet(14, 64, 16))
    calibrated = Calibrated(*rng.uniform(0.5, 1.5, (3, 14)).astype(np.float32))
    for model in (one, refine):
        deployable(model)
    first = rng.normal(0, 0.5, (1, 3, 96, 96)).astype(np.float32)
    second = rng.normal(0, 0.5, (14, 3, 64, 64)).astype(np.float32)
    return [
        StageExport(ExportedStage(one, HEADS["holistic", "map"], calibrated), 96, 1.15, first),
        StageExport(ExportedStage(refine, HEADS["refine", "map"], calibrated), 64, 2.0, second),
    ]


def test_deployable_changes_a_network_by_rounding_only():
    model = scrambled(PersonMapNet(14))
    x = torch.randn(1, 3, 96, 96)
    shipped = copy.deepcopy(model)
    deployable(shipped)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in shipped.modules())
    with torch.no_grad():
        before, after = model(x), shipped(x)
    assert float((before - after).abs().max()) < 0.02 * float(before.abs().max())


def test_a_written_bundle_loads_verifies_and_runs(tmp_path, stages):
    write_bundle(
        tmp_path,
        stages,
        name="tiny",
        version="1",
        skeleton=LSP14,
        pixels=Pixels(1.0, MEAN, STD),
        detector=None,
        training={"data": "none"},
    )
    bundle = Bundle(tmp_path)
    errors = verify_golden(bundle, open_backend("onnxruntime"))
    assert max(errors.values()) < 1e-4
    poses = edgepose.load(bundle, check=True)(
        np.random.default_rng(0).integers(0, 255, (200, 160, 3), np.uint8),
        [[10, 10, 100, 180], [30, 20, 150, 190]],
    )
    assert poses.joints.shape == (2, 14, 2)
    assert len(poses.stages) == 2
    assert ((poses.scores >= 0) & (poses.scores <= 1)).all()
    with pytest.raises(edgepose.errors.BundleError, match="no detector"):
        edgepose.load_detector(bundle)
    # Weights are stored in half the room.
    stored = {t.name: t.data_type for t in onnx.load(tmp_path / "stage1.onnx").graph.initializer}
    half = [name for name, kind in stored.items() if kind == onnx.TensorProto.FLOAT16]
    assert len(half) > 40
    assert (tmp_path / "stage1.onnx").stat().st_size < 5.5e6


def test_the_detector_joins_the_bundle(tmp_path, stages):
    source = Bundle().path("detector.onnx")
    spec = DetectorSpec("detector.onnx", "", (192, 192), 0.4, 0.6)
    write_bundle(
        tmp_path,
        stages[:1],
        name="tiny",
        version="1",
        skeleton=LSP14,
        pixels=Pixels(1.0, MEAN, STD),
        detector=(source, spec),
        training={},
    )
    assert edgepose.load_detector(tmp_path)(np.zeros((90, 60, 3), np.uint8)).shape[1] == 5
    before = Bundle(tmp_path).manifest
    replace_detector(tmp_path, source, DetectorSpec("detector.onnx", "", (96, 160), 0.3, 0.5))
    after = Bundle(tmp_path).manifest
    assert after.detector.size == (96, 160)
    assert after.stages == before.stages
    assert edgepose.load_detector(tmp_path)(np.zeros((90, 60, 3), np.uint8)).shape[1] == 5


def guesses(n, seed, power):
    """n persons, masses (n, 14), which joints are right (chance mass ** power), the estimates."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((14, 2), np.float32)
    joints[LSP14.index("left_shoulder")] = joints[LSP14.index("right_shoulder")] = (0, -60)
    joints[LSP14.index("right_hip")] = joints[LSP14.index("left_hip")] = (0, 40)
    people = [Example(np.zeros((1, 1, 3), np.uint8), joints, np.ones(14, bool), joints[0], 1.0)] * n
    torso = torso_size(joints[None], np.ones((1, 14), bool), LSP14)[0]
    mass = rng.uniform(0.05, 0.95, (n, 14)).astype(np.float32)
    right = rng.random((n, 14)) < mass**power
    moved = joints + np.where(right, 0.0, torso)[..., None]
    return people, mass, right, moved.astype(np.float32)


def test_calibrated_scores_match_the_hit_rate():
    people, mass, right, moved = guesses(3000, 0, power=2)  # over-confident
    slope, context, offset = calibrate.fit(moved, mass, people, LSP14)
    scores = Calibrated(slope, context, offset)(torch.from_numpy(mass)).numpy()
    assert slope.min() > 0
    assert np.abs(scores.mean(0) - right.mean(0)).max() < 0.03


def test_weights_let_a_small_set_count_like_a_large_one():
    large, small = guesses(1000, 0, power=2), guesses(50, 1, power=0.5)
    people = large[0] + small[0]
    mass, right, moved = (np.concatenate((a, b)) for a, b in zip(large[1:], small[1:], strict=True))
    means = []
    for weight in (1.0, 20.0):
        weights = np.repeat(np.array([1.0, weight], np.float32), [1000, 50])
        scores = Calibrated(*calibrate.fit(moved, mass, people, LSP14, weights))(
            torch.from_numpy(mass)
        ).numpy()
        means.append((scores[1000:].mean(), scores[:1000].mean()))
    rate = right[1000:].mean()
    assert abs(means[1][0] - rate) < abs(means[0][0] - rate) - 0.1
    assert means[1][1] > right[:1000].mean()


def test_out_of_fold_scores_know_nothing_of_the_person_scored():
    people, mass, right, moved = guesses(60, 2, power=1)
    weights = np.ones(60, np.float32)
    scores = calibrate.out_of_fold(moved, mass, people, LSP14, weights)
    torn = moved.copy()
    torn[0] += 1000.0  # the first person's own hits turn into misses
    again = calibrate.out_of_fold(torn, mass, people, LSP14, weights)
    assert (again[0] == scores[0]).all()
    assert (again[1] != scores[1]).all()
    assert abs(scores.mean() - right.mean()) < 0.03


def test_joints_of_a_hard_pose_score_lower_at_the_same_mass():
    people, mass, _, _ = guesses(2000, 3, power=1)
    hard = np.arange(2000) % 2 == 1
    mass[hard] **= 1.5
    rng = np.random.default_rng(4)
    right = rng.random(mass.shape) < np.where(hard[:, None], 0.5, 1.0) * mass
    torso = torso_size(people[0].joints[None], np.ones((1, 14), bool), LSP14)[0]
    moved = people[0].joints + np.where(right, 0.0, torso)[..., None]
    parameters = calibrate.fit(moved.astype(np.float32), mass, people, LSP14)
    scores = Calibrated(*parameters)(torch.from_numpy(mass)).numpy()
    assert parameters[1].min() > 0
    for group in (hard, ~hard):
        assert abs(scores[group].mean() - right[group].mean()) < 0.08  # 0.12 by the mass alone

"""The cascade against its own arithmetic in float64, on the bundle that ships and a made-up one."""

from __future__ import annotations

import gc
import threading
import time

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.backends import open_backend
from edgepose.cascade.host import HostCascade
from edgepose.crop.reference import weights
from edgepose.types import Frame
from tests.cascade.made_up import Smooth, made_up

# The man, the same one badly framed, and a box half outside, in a frame of 270 x 480.
BOXES = np.array([[57, 78, 144, 295], [30, 110, 150, 260], [-40, 200, 90, 420]], np.float32)


@pytest.fixture(scope="module")
def frame(sample):
    capture = cv2.VideoCapture(str(sample))
    ok, picture = capture.read()
    capture.release()
    assert ok
    return cv2.resize(picture, (270, 480), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def cascade(two_stages):
    return HostCascade(two_stages, open_backend("onnxruntime", 1))


@pytest.fixture(scope="module")
def poses(cascade, frame):
    return cascade(frame, BOXES)


def crop64(frame, box, size, pixels):
    """``N(x; b)`` from the crop's definition, (3, size, size) float64."""
    x0, y0, x1, y1 = box
    mean, std = (np.array(v)[:, None, None] for v in (pixels.mean, pixels.std))
    wy = weights(y0, y1, size, frame.shape[0], True)
    wx = weights(x0, x1, size, frame.shape[1], True)
    rows, columns = np.flatnonzero(wy.any(0)), np.flatnonzero(wx.any(0))
    rgb = frame[np.ix_(rows, columns)][..., ::-1].transpose(2, 0, 1)
    # The mean is the border's colour, so what lies outside is 0.
    return wy[:, rows] @ (rgb * pixels.scale - mean) @ wx[:, columns].T / std


def cascade64(bundle, networks, frame, box):
    """One person through the paper's section 3, in float64 but for the networks."""
    manifest, skeleton = bundle.manifest, bundle.skeleton
    first = manifest.stages[0]
    x0, y0, x1, y1 = map(float, box)
    centre, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0) * first.extent
    b0 = (*(centre - side / 2), *(centre + side / 2))
    crop = crop64(frame, b0, first.size, manifest.pixels)
    points, scores = networks[0](crop[None].astype(np.float32))
    y = points[0].astype(np.float64) * side + centre
    stages, stage_scores = [y], [scores[0]]
    for spec, network in zip(manifest.stages[1:], networks[1:], strict=True):
        ends = {name: y[skeleton.joints.index(name)] for pair in skeleton.torso for name in pair}
        diagonals = [np.hypot(*(ends[a] - ends[b])) for a, b in skeleton.torso]
        side = spec.extent * max(*diagonals, 0.2 * (y.max(0) - y.min(0)).max(), 1.0)
        crops = [
            crop64(frame, (x - side / 2, v - side / 2, x + side / 2, v + side / 2), spec.size,
                   manifest.pixels)
            for x, v in y
        ]  # fmt: skip
        moved, scores = network(np.stack(crops).astype(np.float32))
        y = y + moved.astype(np.float64) * side
        stages.append(y)
        stage_scores.append(scores)
    return stages, stage_scores


def test_against_float64(cascade, frame, poses):
    for person, box in enumerate(BOXES):
        stages, scores = cascade64(cascade.bundle, cascade.networks, frame, box)
        assert len(stages) == len(poses.stages) == len(cascade.bundle.manifest.stages)
        for s in range(len(stages)):
            np.testing.assert_allclose(poses.stages[s][person], stages[s], atol=0.02)
            np.testing.assert_allclose(poses.stage_scores[s][person], scores[s], atol=2e-3)


def test_three_made_up_stages_against_float64(frame):
    bundle = made_up()
    cascade = HostCascade(bundle, Smooth())
    poses = cascade(frame, BOXES)
    assert len(poses.stages) == 3
    assert np.abs(np.diff(poses.stages, axis=0)).max(axis=(1, 2, 3)).min() > 5
    for person, box in enumerate(BOXES):
        expected, scores = cascade64(bundle, cascade.networks, frame, box)
        for s in range(3):
            np.testing.assert_allclose(poses.stages[s][person], expected[s], atol=2e-3)
            np.testing.assert_allclose(poses.stage_scores[s][person], scores[s], atol=1e-4)


def test_the_result(cascade, poses):
    k = len(cascade.skeleton)
    assert len(poses) == 3
    assert len(poses.stages) == len(poses.stage_scores) == len(cascade.specs)
    for joints, scores in zip(poses.stages, poses.stage_scores, strict=True):
        assert (joints.shape, joints.dtype) == ((3, k, 2), np.float32)
        assert (scores.shape, scores.dtype) == ((3, k), np.float32)
        assert np.isfinite(joints).all()
        assert ((scores >= 0) & (scores <= 1)).all()
    assert poses.joints is poses.stages[-1]
    assert poses.scores is poses.stage_scores[-1]
    steps = {"crop", *(f"stage {n}" for n in range(1, len(cascade.specs) + 1))}
    assert set(poses.seconds) == steps
    assert all(seconds > 0 for seconds in poses.seconds.values())


def test_a_batch_equals_one_by_one(cascade, frame, poses):
    for person, box in enumerate(BOXES):
        alone = cascade(frame, box[None])
        for s in range(len(cascade.specs)):
            np.testing.assert_allclose(alone.stages[s][0], poses.stages[s][person], atol=0.01)
            np.testing.assert_allclose(
                alone.stage_scores[s][0], poses.stage_scores[s][person], atol=1e-3
            )


def test_the_man_is_where_he_is(cascade, poses):
    """Plausible, not exact: head above hips above ankles, all inside his box."""
    y = dict(zip(cascade.skeleton.joints, poses.joints[0], strict=True))
    x0, y0, x1, y1 = BOXES[0]
    assert ((poses.joints[0] > (x0 - 10, y0 - 10)) & (poses.joints[0] < (x1 + 10, y1 + 10))).all()
    for side in ("left", "right"):
        heights = [y["head_top"], *(y[f"{side}_{j}"] for j in ("shoulder", "hip", "knee", "ankle"))]
        assert np.all(np.diff([h[1] for h in heights]) > 0)


def test_nobody(cascade, frame):
    for nobody in ([], np.zeros((0, 4)), np.zeros((0, 5), np.float32)):
        poses = cascade(frame, nobody)
        assert len(poses) == 0
        assert [s.shape for s in poses.stages] == [(0, 14, 2)] * len(cascade.specs)
        assert [s.shape for s in poses.stage_scores] == [(0, 14)] * len(cascade.specs)


def test_boxes_with_scores_and_as_lists(cascade, frame, poses):
    rows = np.concatenate([BOXES, [[0.5]] * 3], axis=1).tolist()
    np.testing.assert_array_equal(cascade(frame, rows).joints, poses.joints)


@pytest.mark.parametrize(
    "boxes",
    [
        [[0, 0, 10]],
        [0, 0, 10, 10],
        [[[0, 0, 10, 10]]],
        [[0, 0, 0, 10]],
        [[0, 10, 10, 0]],
        [[0, 0, np.nan, 10]],
        [[0, 0, np.inf, 10]],
        [[0, 0, 1e300, 10]],
        [[0, 0, 10, 10], [5, 5, 4, 4]],
    ],
)
def test_bad_boxes(cascade, frame, boxes):
    with pytest.raises(ValueError, match="boxes must be"):
        cascade(frame, boxes)


def test_the_frame_is_not_touched(cascade, frame):
    before = frame.copy()
    cascade(frame, BOXES[:1])
    np.testing.assert_array_equal(frame, before)


def test_the_first_stages_alone(two_stages, frame, poses):
    one = HostCascade(two_stages, open_backend("onnxruntime", 1), stages=1)
    got = one(frame, BOXES)
    assert len(got.stages) == 1
    np.testing.assert_allclose(got.joints, poses.stages[0], atol=0.01)


def test_load_with_check():
    assert "onnxruntime, float32" in edgepose.load(threads=1, check=True).description


def frames_of(*images):
    return [Frame(image, n, 0.0, 0.0, n) for n, image in enumerate(images)]


def test_several_frames_in_one_call(cascade, frame):
    images = [frame, np.ascontiguousarray(frame[:, ::-1]), frame[100:, 20:]]
    boxes = np.stack([BOXES[0], [126, 78, 213, 295], [37, -22, 124, 195], BOXES[1]])
    index = np.array([0, 1, 2, 0])
    pending = cascade.submit(frames_of(*images), boxes, index)
    together = pending.result()
    for row, i in enumerate(index):
        alone = cascade(images[i], boxes[row][None])
        for s in range(len(cascade.specs)):
            np.testing.assert_allclose(together.stages[s][row], alone.stages[s][0], atol=0.01)
    for s in range(len(cascade.specs)):
        joints, scores = pending.stage(s + 1)
        assert joints is together.stages[s]
        assert scores is together.stage_scores[s]
    with pytest.raises(ValueError, match="stage must be from 1 to 2, not 3"):
        pending.stage(3)


class Gates:
    """Networks that wait until their gate is opened, and note who runs beside whom."""

    name, precision = "gates", "float32"

    def __init__(self):
        self.gates = {"stage1": threading.Semaphore(0), "stage2": threading.Semaphore(0)}
        self.inside, self.log, self.fails = set(), [], False

    def load(self, bundle, name):
        network = Smooth().load(bundle, name)

        def gated(crops):
            self.inside.add(name)
            self.log.append((name, frozenset(self.inside)))
            assert self.gates[name].acquire(timeout=10)
            self.inside.discard(name)
            if self.fails:
                raise ZeroDivisionError("in the network")
            return network(crops)

        return gated


@pytest.fixture
def gated():
    before, gates = set(stage_threads()), Gates()
    cascade = HostCascade(made_up(2), gates)
    yield cascade, gates
    for gate in gates.gates.values():
        gate.release(100)
    cascade.close()
    assert set(stage_threads()) <= before


def stage_threads():
    return [t for t in threading.enumerate() if t.name.startswith("edgepose-stage")]


def test_stage_two_of_a_frame_runs_beside_stage_one_of_the_next(gated, frame):
    cascade, gates = gated
    index = np.zeros(1, np.int64)
    first = cascade.submit(frames_of(frame), BOXES[:1], index)
    second = cascade.submit(frames_of(frame), BOXES[1:2], index)
    gates.gates["stage1"].release()
    # Stage 1 is there while stage 2 is not even allowed to begin.
    assert np.isfinite(first.stage(1)[0]).all()
    deadline = time.monotonic() + 10
    while gates.inside != {"stage1", "stage2"} and time.monotonic() < deadline:
        time.sleep(0.001)
    assert gates.inside == {"stage1", "stage2"}
    gates.gates["stage1"].release()
    gates.gates["stage2"].release(2)
    plain = HostCascade(made_up(2), Smooth())
    for pending, box in ((first, BOXES[:1]), (second, BOXES[1:2])):
        np.testing.assert_array_equal(pending.result().joints, plain(frame, box).joints)


def test_the_hand_over_is_bounded(gated, frame):
    cascade, gates = gated
    sent = []

    def send():
        for _ in range(9):
            cascade.submit(frames_of(frame), BOXES[:1], np.zeros(1, np.int64))
            sent.append(1)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(0.3)
    # One being estimated, one waiting.
    assert len(sent) == 2
    for gate in gates.gates.values():
        gate.release(9)
    thread.join(10)
    assert len(sent) == 9


def test_what_goes_wrong_in_a_stage_is_raised_where_it_is_waited_for(gated, frame):
    cascade, gates = gated
    gates.fails = True
    gates.gates["stage1"].release()
    pending = cascade.submit(frames_of(frame), BOXES[:1], np.zeros(1, np.int64))
    for ask in (lambda: pending.stage(1), lambda: pending.stage(2), pending.result):
        with pytest.raises(ZeroDivisionError, match="in the network"):
            ask()
    gates.fails = False
    for gate in gates.gates.values():
        gate.release(5)
    # The workers live on.
    assert len(cascade.submit(frames_of(frame), BOXES, np.zeros(3, np.int64)).result()) == 3


@pytest.mark.parametrize("index", [[0], [0, 0, 1], [0, -1, 0], [0, 0, 0, 0]])
def test_bad_frame_index(cascade, frame, index):
    with pytest.raises(ValueError, match="frame_index must be"):
        cascade.submit(frames_of(frame), BOXES, np.array(index))


def test_workers_end_when_nobody_holds_the_cascade(frame):
    others = set(stage_threads())
    cascade = HostCascade(made_up(2), Smooth())
    pending = cascade.submit(frames_of(frame), BOXES, np.zeros(3, np.int64))
    assert len(pending.result()) == 3
    assert cascade.depth == 3
    assert cascade.pace > 0
    own = set(stage_threads()) - others
    assert len(own) == 2
    del cascade
    gc.collect()
    for thread in own:
        thread.join(5)
        assert not thread.is_alive()


def test_a_closed_cascade_takes_nothing_more(frame):
    cascade = HostCascade(made_up(2), Smooth())
    cascade.close()
    cascade.close()
    with pytest.raises(RuntimeError, match="have been closed"):
        cascade.submit(frames_of(frame), BOXES, np.zeros(3, np.int64))


class Wide(Gates):
    """As :class:`Gates`, but a network may be called twice at once."""

    def load(self, bundle, name):
        gated = super().load(bundle, name)
        gated.at_once = 4
        return gated


def test_two_lanes_estimate_two_frames_at_once(frame):
    gates, others = Wide(), set(stage_threads())
    cascade = HostCascade(made_up(2), gates)
    assert (cascade.lanes, cascade.depth) == (2, 5)
    index = np.zeros(1, np.int64)
    sent = [cascade.submit(frames_of(frame), BOXES[:1], index) for _ in range(2)]
    deadline = time.monotonic() + 10
    while len(gates.log) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    # Neither was let go: both are inside.
    assert [name for name, _ in gates.log] == ["stage1", "stage1"]
    for gate in gates.gates.values():
        gate.release(9)
    first, second = (pending.result().joints for pending in sent)
    np.testing.assert_array_equal(first, second)
    cascade.close()
    assert set(stage_threads()) <= others


@pytest.mark.parametrize("used", [False, True])
def test_lanes_end_whether_or_not_they_were_used(frame, used):
    gates, others = Wide(), set(stage_threads())
    for gate in gates.gates.values():
        gate.release(99)
    cascade = HostCascade(made_up(2), gates)
    if used:
        cascade.submit(frames_of(frame), BOXES, np.zeros(3, np.int64)).result()
    cascade.close()
    assert set(stage_threads()) <= others


def test_threads_share_a_batch_and_give_the_same(two_stages):
    rng = np.random.default_rng(0)
    one, three = (open_backend("onnxruntime", threads) for threads in (1, 3))
    for spec in two_stages.networks()[:2]:
        batch = rng.normal(size=(5 * spec.rows, *spec.shape)).astype(np.float32)
        alone, shared = one.load(two_stages, spec.name), three.load(two_stages, spec.name)
        for a, b in zip(alone(batch), shared(batch), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)

"""Who is who while two people cross: switches of ids, counted against truth written by hand.

``EDGEPOSE_CLIPS=FOLDER`` with Pose2Sim's ``multi_cam01.mp4`` and ``multi_cam02.mp4``: a man leans
behind a woman, and his arm over a bystander. ``crossing.json`` says where the middle of each torso
is in some frames, looked up in the pictures; in between it moves straight on. Lower rates make it
harder: people move further from frame to frame.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgepose.api import estimator, load, load_detector
from edgepose.people.assign import assign
from edgepose.runner.capture import Feed
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.open import open_source
from edgepose.sources.source import SourceOptions

TRUTH = json.loads(Path(__file__).with_name("crossing.json").read_text())
CLIPS = os.environ.get("EDGEPOSE_CLIPS")
RATE = 60
_NEAR = 130  # pixels from the true middle: less than half a torso of the man's


def middles(clip: str, frame: float) -> tuple[list[str], np.ndarray]:
    """Names of the persons, and where (n, 2) their torsos' middles are."""
    names, places = [], []
    for name, keys in TRUTH[clip].items():
        at = sorted(map(int, keys))
        points = np.array([keys[str(key)] for key in at], float)
        names.append(name)
        places.append([np.interp(frame, at, points[:, axis]) for axis in (0, 1)])
    return names, np.array(places)


def torso(person, skeleton) -> np.ndarray:
    """(2,) the middle of a person's shoulders and hips."""
    wanted = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")]
    return person.joints[[skeleton.joints.index(joint) for joint in wanted]].mean(0)


@pytest.mark.parametrize("fps", [60, 20, 10, 6])
@pytest.mark.parametrize("clip", sorted(TRUTH))
def test_ids_stay_with_their_persons(benchmark, clip, fps):
    if CLIPS is None:
        pytest.skip("set EDGEPOSE_CLIPS to the folder of the clips")
    cascade = load(backend="onnxruntime")
    source = open_source(Path(CLIPS, clip), SourceOptions(fps=fps))
    run = Pipeline([Feed(source)], estimator([source], cascade, load_detector()))
    results = benchmark.pedantic(lambda: list(run), rounds=1)
    run.close()
    source.close()
    cascade.close()
    holders: dict[str, list[int]] = {name: [] for name in TRUTH[clip]}
    strangers = misses = 0
    for result in results:
        names, places = middles(clip, result.time * RATE)
        mine = np.array([torso(p, cascade.skeleton) for p in result.people]).reshape(-1, 2)
        distance = np.linalg.norm(places[:, None] - mine[None], axis=2)
        pairs = assign(np.where(distance < _NEAR, distance, np.inf))
        strangers += len(mine) - len(pairs)
        misses += len(names) - len(pairs)
        for row, column in pairs:
            holders[names[row]].append(result.people[column].id)
    switches = sum(int((np.diff(ids) != 0).sum()) for ids in holders.values())
    ids = {name: sorted(set(found)) for name, found in holders.items()}
    benchmark.extra_info.update(
        {
            "frames": len(results),
            "switches": switches,
            "ids": ids,
            "missed, % of persons": round(100 * misses / (len(results) * len(holders)), 1),
            "nobody's skeletons": strangers,
        }
    )
    assert switches == 0
    assert len({number for found in ids.values() for number in found}) == len(ids)
    # At ten frames a second one pose lies far from its person: that is no stranger.
    assert strangers <= (2 if fps < 20 else 0)

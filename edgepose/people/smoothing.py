"""The 1€ filter (Casiez, Roussel & Vogel, CHI 2012) for the joints of followed persons.

A low-pass filter whose cutoff grows with the joint's speed: a joint at rest is held still, one in
motion is followed at once. The authors' ``OneEuroFilter`` on PyPI filters one number per call, 34
calls for a person of 17 joints; this one filters all joints in a dozen array operations, measures
speed in person sizes, so that one setting serves near and far, and trusts a joint by its score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.types import Float, Person


@dataclass(slots=True)
class _State:
    time: float
    joints: Float
    velocity: Float
    size: float


class OneEuro:
    """Smooths persons' joints over time, each person by id.

    Args:
        min_cutoff: Hz, the cutoff at rest: lower is calmer.
        beta: Hz per (person size / second): how fast the cutoff rises with speed; higher lags less.
        d_cutoff: Hz, the cutoff of the speed's own low-pass filter.
        gap: seconds unseen after which a person starts afresh.
    """

    def __init__(
        self,
        min_cutoff: float = 1.5,
        beta: float = 25.0,
        d_cutoff: float = 1.5,
        gap: float = 0.5,
    ) -> None:
        if min(min_cutoff, d_cutoff, gap) <= 0 or beta < 0:
            raise ValueError("cutoffs and gap must be positive, beta not negative")
        self.min_cutoff, self.beta, self.d_cutoff, self.gap = min_cutoff, beta, d_cutoff, gap
        self._states: dict[int, _State] = {}

    def __call__(self, people: list[Person], time: float) -> list[Person]:
        """Replace each person's ``joints`` by the smoothed ones, for the frame at ``time`` seconds.

        Persons and their arrays are changed only by giving them new arrays. The first frame of an
        id, and the first after a gap, passes unchanged.
        """
        for person in people:
            person.joints = self._filter(person, time)
        if len(self._states) > len(people):
            old = [i for i, s in self._states.items() if not 0 <= time - s.time <= self.gap]
            for i in old:
                del self._states[i]
        return people

    def _filter(self, person: Person, time: float) -> Float:
        size = max(1.0, float(np.max(person.box[2:] - person.box[:2])))
        state = self._states.get(person.id)
        passed = 0.0 if state is None else time - state.time
        if state is None or not 0 < passed <= self.gap:
            still = np.zeros_like(person.joints)
            self._states[person.id] = _State(time, person.joints, still, size)
            return person.joints
        # The size is a unit here: it must not jump when an arm is raised.
        state.size += (size - state.size) * _weight(1.0, passed)
        step = (person.joints - state.joints) / np.float32(passed * state.size)
        state.velocity = state.velocity + np.float32(_weight(self.d_cutoff, passed)) * (
            step - state.velocity
        )
        speed = np.hypot(state.velocity[:, 0], state.velocity[:, 1])
        trust = np.clip(2 * person.scores, 0.1, 1)
        reach = (2 * np.pi * passed) * trust * (self.min_cutoff + self.beta * speed)
        weight = (reach / (reach + 1)).astype(np.float32)[:, None]
        state.joints = state.joints + weight * (person.joints - state.joints)
        state.time = time
        return state.joints


def _weight(cutoff: float, passed: float) -> float:
    """Weight of a value ``passed`` seconds after the last, in smoothing with ``cutoff`` Hz."""
    reach = 2 * np.pi * cutoff * passed
    return float(reach / (reach + 1))

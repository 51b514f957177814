"""What the tracker lives by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackerOptions:
    """What the tracker lives by. Times are in seconds, so that they hold at any frame rate."""

    detect_every: int = 20
    """Frames from one run of the detector to the next while all is well."""
    search_every: int = 3
    """The same while nobody is followed, somebody lost may come back, or somebody is leaving."""
    max_persons: int = 5
    start_score: float = 0.4
    """A detection under this starts nobody (it may still confirm somebody)."""
    min_score: float = 0.25
    """A pose whose mean joint score is under this is poor."""
    confirm: int = 3
    """Good poses in a row that a new person needs before being shown."""
    confirm_score: float = 0.53
    """The ``min_score`` of these."""
    confirm_person: float = 0.6
    """Their least score of detector and pose together."""
    at_once: float = 0.7
    """A score of both together from which one good pose is enough: who is as plain as that is shown
    in the first frame. Of 468 rooms, streets and gardens without a person none reaches 0.6."""
    sure_score: float = 0.7
    """A new person's detection under this must be seen again, two frames later."""
    patience: float = 0.15
    """How long a person may be poor before being given up as lost."""
    trust: float = 2.0
    """How long a good pose is believed against a detector that sees nobody there, unless the person
    was leaving the picture."""
    keep: float = 1.0
    """How long a lost person's id waits for a detection near where the person would be."""
    recall: float = 3.0
    """The same for one whose colours are known."""
    unlike: float = 0.42
    """Whose colours are further apart than this is somebody else (Hellinger distance). Measured on
    the scenes: a box moved by 4 % in light changed by up to 20 % is 0.12 from itself, in one of a
    hundred 0.35; two persons in one picture are 0.58 apart, in one of twenty less than 0.31."""
    alike: float = 0.3
    """Colours must be no further apart than this for an id to come back after ``keep``."""
    fresh: float = 0.5
    """How long a person who was begun or found again must prove to be nobody else's double."""
    same_pose: float = 0.06
    """Two persons whose joints are this near each other, in box diagonals, are one."""
    same_box: float = 0.6
    """The overlap from which a fresh person is taken for a double."""

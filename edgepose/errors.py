"""Typed errors: each message is one sentence that says what is wrong and what to do."""

from __future__ import annotations


class EdgeposeError(Exception):
    """Base of every error the user can mend; the command line turns it into exit code 2."""


class BundleError(EdgeposeError):
    """A bundle is missing, damaged, too new or inconsistent."""


class BackendError(EdgeposeError):
    """A backend is unknown, not installed, or gives wrong results."""


class CropError(EdgeposeError):
    """A path of the crop kernel is unknown or cannot run on this machine."""


class SourceError(EdgeposeError):
    """A camera, file, folder or stream cannot be opened or read."""


class OutputError(EdgeposeError):
    """An output cannot be written."""


class DataError(EdgeposeError):
    """A data set or annotation file is missing or malformed."""


class DeviceError(BackendError):
    """A GPU is not there, out of memory, or cannot do what was asked of it."""


class EngineError(BackendError):
    """A TensorRT engine cannot be built, does not fit this machine, or is damaged."""


class TrainingError(EdgeposeError):
    """Training cannot go on (diverged, wrong checkpoint, no memory, a lost process)."""

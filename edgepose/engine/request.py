"""What engines are wanted: of which bundle, for which GPUs, by which recipe."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from edgepose.bundle import Bundle, NetworkSpec
from edgepose.cuda.driver import Driver
from edgepose.engine.flavour import Flavour
from edgepose.engine.manifest import Identity
from edgepose.engine.recipe import EngineRecipe
from edgepose.errors import EngineError


@dataclass(frozen=True)
class Request:
    """What engines are wanted, and the options of ``edgepose-build`` that ask for the same."""

    bundle: Bundle
    flavour: Flavour
    targets: tuple[str, ...]
    cuda: str
    recipe: EngineRecipe
    options: tuple[str, ...] = ()

    def command(self, *more: str) -> str:
        """The command that builds these engines."""
        return shlex.join(["edgepose-build", *self.options, *more])

    def identity(self, network: NetworkSpec) -> Identity:
        """What the engine of one network must be."""
        recipe = self.recipe
        return Identity(
            network=network.name,
            onnx=network.sha256,
            flavour=self.flavour.name,
            version=self.flavour.version,
            targets=self.targets,
            cuda=self.cuda,
            precision=recipe.precision_of(network.name),
            batch=None if network.fixed else recipe.batch_of(network.name),
            float32=recipe.float32_of(network.name),
            workspace=recipe.workspace,
        )


def choose_targets(flavour: Flavour, target: str, driver: Driver) -> tuple[tuple[str, ...], str]:
    """Compute capabilities to build for, and the CUDA version that they are tied to.

    ``target``: "host", or a list such as "sm86,sm120". The version is empty for a list: such
    engines are built ahead of time. Raises EngineError if the flavour cannot build that.
    """
    here = driver.gpus[0].target if driver.gpus else ""
    wanted = tuple(dict.fromkeys(t.strip().lower() for t in target.split(",") if t.strip()))
    known = ", ".join(flavour.targets)
    if wanted in (("host",), (here,)):
        if not here:
            raise EngineError(
                f"there is no GPU here to build for ({driver.problem}); "
                + (
                    f"name the GPU's compute capability with --target, one or more of {known}"
                    if flavour.rtx
                    else "build on the machine that will run the engines, or use --flavour "
                    "tensorrt-rtx with a --target"
                )
            )
        if flavour.rtx and here not in flavour.targets:
            raise EngineError(
                f"{flavour.name} {flavour.version} does not support this GPU ({here}; it supports "
                f"{known}); use --flavour tensorrt"
            )
        return (here,), driver.cuda.split(".")[0]
    if not flavour.rtx:
        raise EngineError(
            "tensorrt builds only for the GPU it runs on; use --target host, or --flavour "
            "tensorrt-rtx for other GPUs"
        )
    unknown = [t for t in wanted if t not in flavour.targets]
    if unknown or not wanted:
        raise EngineError(
            f"{flavour.name} {flavour.version} cannot build for {', '.join(unknown) or 'nothing'}; "
            f"--target takes host, or one or more of {known}"
        )
    return wanted, ""

"""One run of ``edgepose-build``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from edgepose.bundle import Bundle
from edgepose.cli._build_report import Live, drifts, list_engines, say, summary
from edgepose.cuda.driver import driver
from edgepose.engine.build import BuiltEngine, engines
from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.convert import strongly_typed
from edgepose.engine.flavour import open_flavour
from edgepose.engine.recipe import (
    EngineRecipe,
    NetworkRecipe,
    Precision,
    parse_batch,
    read_engine_recipe,
)
from edgepose.engine.request import Request, choose_targets
from edgepose.errors import EngineError

if TYPE_CHECKING:
    from edgepose.backends.tensorrt import Loader


@dataclass(frozen=True)
class Options:
    """What the user asked for; see ``edgepose-build --help``."""

    bundle: Path | None
    target: str
    flavour: str
    precision: Precision | None
    batch: tuple[str, ...]
    recipe: Path | None
    workspace: int | None
    rebuild: bool
    out: Path | None
    verify: bool
    no_build: bool
    list: bool
    inspect: str | None
    clean: bool

    def again(self) -> tuple[str, ...]:
        """The options that ask for the same engines."""
        given: list[str] = [str(self.bundle)] if self.bundle is not None else []
        if self.target != "host":
            given += ["--target", self.target]
        if self.flavour != "auto":
            given += ["--flavour", self.flavour]
        if self.precision is not None:
            given += ["--precision", self.precision]
        for batch in self.batch:
            given += ["--batch", batch]
        if self.recipe is not None:
            given += ["--recipe", str(self.recipe)]
        if self.workspace is not None:
            given += ["--workspace", str(self.workspace)]
        if self.out is not None:
            given += ["--out", str(self.out)]
        return tuple(given)


def run(options: Options) -> None:
    """Do what was asked for and print it. Raises EdgeposeError."""
    console = Console(highlight=False)
    cache = Cache(options.out or default_folder())
    _check(options)
    if options.list:
        list_engines(console, cache)
        return
    with Live(Console(stderr=True, highlight=False)) as report:
        if options.clean:
            with cache.lock(lambda: report.waiting(cache.folder)):
                count = cache.clean()
            say(console, f"removed {count} engine{'' if count == 1 else 's'} from {cache.folder}")
            return
        bundle = Bundle(options.bundle)
        recipe = _recipe(options, [n.name for n in bundle.networks()])
        flavour = open_flavour(options.flavour)
        found = driver()
        targets, cuda = choose_targets(flavour, options.target, found)
        request = Request(bundle, flavour, targets, cuda, recipe, options.again())
        if options.inspect is not None:
            _inspect(request, options.inspect, cache, report)
            return
        here = found.gpus[0].target if found.gpus else ""
        say(
            console,
            f"{bundle.name}: {flavour.name} {flavour.version} for {', '.join(targets)}, "
            f"{found.gpus[0].name if here else 'no GPU here'}, engines in {cache.folder}",
        )
        check = None
        if options.verify:
            from edgepose.verify.engines import Verifier

            check = Verifier(bundle, _loader(request) if here in targets else None)
        made = engines(
            request,
            bundle.networks(),
            cache,
            report,
            build=not options.no_build,
            rebuild=options.rebuild,
            check=check,
            recheck=True,
        )
    console.print(summary(made))
    if check is not None:
        console.print(drifts(made, check.whole))
        if here not in targets:
            say(
                console,
                "The engines themselves were not run: there is no GPU for them here. The drift is "
                "that of the networks they were built from, every layer rounded.",
            )


def _check(options: Options) -> None:
    """Options that exclude each other."""
    alone = {"--list": options.list, "--clean": options.clean, "--inspect": options.inspect}
    given = [name for name, value in alone.items() if value]
    if options.rebuild and options.no_build:
        given = ["--rebuild", "--no-build"]
    if len(given) > 1:
        raise EngineError(f"{' and '.join(given)} were given; give one of them")


def _recipe(options: Options, names: Sequence[str]) -> EngineRecipe:
    """The recipe with what the command line sets instead."""
    recipe = read_engine_recipe(options.recipe) if options.recipe is not None else EngineRecipe()
    if options.workspace is not None:
        recipe = msgspec.structs.replace(recipe, workspace=options.workspace)
    each = {
        name: msgspec.structs.replace(r, precision=options.precision or r.precision)
        for name, r in recipe.networks.items()
    }
    if options.precision is not None:
        recipe = msgspec.structs.replace(recipe, precision=options.precision)
    for text in options.batch:
        name, equals, batch = text.rpartition("=")
        parse_batch(batch)
        if equals:
            each[name] = msgspec.structs.replace(each.get(name, NetworkRecipe()), batch=batch)
        else:
            each = {n: msgspec.structs.replace(r, batch=None) for n, r in each.items()}
            recipe = msgspec.structs.replace(recipe, batch=batch)
    unknown = [name for name in each if name not in names]
    if unknown:
        raise EngineError(f"the bundle has no network {unknown[0]!r}; it has {', '.join(names)}")
    for name in names:
        recipe.batch_of(name)
    return msgspec.structs.replace(recipe, networks=each)


def _loader(request: Request) -> Loader:
    """Loads plans on the GPU of this machine."""
    from edgepose.backends.tensorrt import plan_loader

    return plan_loader(request.flavour)


def _inspect(request: Request, name: str, cache: Cache, report: Live) -> None:
    """Print an engine's manifest and layers; without its GPU, the nodes that it was built from."""
    chosen = [n for n in request.bundle.networks() if n.name == name]
    if not chosen:
        known = ", ".join(n.name for n in request.bundle.networks())
        raise EngineError(f"the bundle has no network {name!r}; it has {known}")
    (engine,) = engines(request, chosen, cache, report, build=False)
    facts: dict[str, Any] = {"manifest": msgspec.to_builtins(engine.manifest)}
    found = driver()
    if found.gpus and found.gpus[0].target in request.targets:
        from edgepose.backends.tensorrt import plan_layers

        facts["layers"] = plan_layers(request.flavour, engine.plan)
    else:
        facts["nodes"] = _nodes(engine)
    print(json.dumps(facts, indent=2))  # noqa: T201


def _nodes(engine: BuiltEngine) -> list[dict[str, str]]:
    import onnx

    identity = engine.manifest.identity
    data = strongly_typed(engine.network.path, identity.precision, identity.float32)
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(data)).graph
    kinds = {
        v.name: onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower()
        for v in (*graph.value_info, *graph.output)
    }
    return [
        {"name": n.name, "operator": n.op_type, "type": kinds.get(n.output[0], "")}
        for n in graph.node
    ]

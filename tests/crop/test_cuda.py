"""The CUDA face: arrays of other libraries, streams, and one clear error per argument.

Where no GPU is needed: pointers are the host's, and a recorder stands for the native module.
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from edgepose.crop import cuda, surfaces
from edgepose.crop import native as native_module
from edgepose.errors import BackendError
from tests.crop.cuda_host import HostMemory

native = native_module._cuda

IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
BOXES = np.array([[0, 0, 4, 4]], np.float32)
OUT = np.zeros((1, 3, 4, 4), np.float32)
INDEX = np.zeros(1, np.int64)


class Frames(NamedTuple):
    """A table as given: its kind, and its rows, or the pointer to it on the device."""

    source: int
    rows: object

    @classmethod
    def read(cls, source, pointer, count, on_device):
        if on_device:
            return cls(source, (pointer, count))
        memory = (ctypes.c_uint8 * (count * surfaces.ROW.itemsize)).from_address(pointer)
        return cls(source, np.frombuffer(memory, surfaces.ROW).tolist())


class CropSpec(NamedTuple):
    height: int
    width: int
    half: bool
    normalisation: object
    antialias: bool


class Recorder:
    """Keeps what the native module would have been given."""

    MAX_FRAMES = 64
    Frames, CropSpec = staticmethod(Frames.read), CropSpec
    Memory = HostMemory
    Imported = getattr(native, "Imported", None)
    to_dlpack = staticmethod(getattr(native, "to_dlpack", lambda *_: None))

    def __init__(self):
        self.calls, self.waited, self.devices = [], [], {}
        self.captured = ()

    def device_of(self, pointer):
        return self.devices.get(pointer, 0)

    def capturing(self, device, stream):
        return stream in self.captured

    def wait(self, *arguments):
        self.waited.append(arguments)

    def crop(self, *arguments):
        self.calls.append(arguments)


@pytest.fixture
def gpu(monkeypatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(native_module, "_cuda", recorder)
    return recorder


class Interface:
    """A library's array, by ``__cuda_array_interface__``."""

    def __init__(self, array: np.ndarray, stream: int | None = None, read_only: bool = False):
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, read_only),
            "strides": None if array.flags.c_contiguous else array.strides,
            "stream": stream,
        }


class Dlpack:
    """A library's array, by DLPack: NumPy's capsule under a device's name."""

    def __init__(self, array: np.ndarray, device: int = 2):
        self.array, self.device, self.streams = array, device, []

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return self.array.__dlpack__()


def call(**changes):
    arguments = {"frames": IMAGE, "boxes": BOXES, "size": 4, "out": OUT, **changes}
    for name in ("frames", "boxes", "out", "frame_index"):
        value = arguments.get(name)
        if isinstance(value, np.ndarray):
            arguments[name] = Interface(value)
    if isinstance(arguments["frames"], list):
        arguments["frames"] = [
            Interface(f) if isinstance(f, np.ndarray) else f for f in arguments["frames"]
        ]
    return cuda.crop(**arguments)


def test_what_the_kernel_is_given(gpu):
    frames = [IMAGE[:, 1:5], IMAGE[::-1]]
    out = Interface(OUT)
    options = {"scale": 0.5, "mean": (1, 2, 3), "std": (1, 2, 4), "antialias": False, "stream": 77}
    assert call(frames=frames, frame_index=INDEX, out=out, **options) is out
    ((table, boxes, index, n, spec, to, device, stream),) = gpu.calls
    assert table == Frames(
        0, [(frames[0].ctypes.data, 0, 24, 0, 6, 4), (frames[1].ctypes.data, 0, -24, 0, 6, 8)]
    )
    assert (boxes, index, to) == (BOXES.ctypes.data, INDEX.ctypes.data, OUT.ctypes.data)
    colour = ((0.5, 0.25, 0.125), (2, 4, 6), (0, 0, 0))
    assert (n, spec) == (1, CropSpec(4, 4, False, colour, False))
    assert (device, stream) == (0, 77)
    assert gpu.waited == []


def test_nv12_is_given_with_its_standard(gpu):
    y, uv = np.zeros((4, 8), np.uint8), np.zeros((2, 4, 2), np.uint8)
    for standard, source in (("bt601", 1), ("bt709", 2)):
        call(frames=cuda.NV12(Interface(y), Interface(uv), standard))
        assert gpu.calls[-1][0] == (source, [(y.ctypes.data, uv.ctypes.data, 8, 8, 4, 8)])
    surface = cuda.surface(4096, 4, 8, 512)
    call(frames=[surface, surface], frame_index=INDEX)
    assert gpu.calls[-1][0].rows == [(4096, 4096 + 4 * 512, 512, 512, 4, 8)] * 2
    surface = cuda.surface(4096, 4, 8, 512, uv_pointer=9000, standard="bt601")
    call(frames=surface)
    assert gpu.calls[-1][0] == (1, [(4096, 9000, 512, 512, 4, 8)])


def test_a_table_on_the_device(gpu):
    table, standard = surfaces.rows([Interface(IMAGE), Interface(IMAGE[::-1])])
    assert standard is None
    lying = cuda.DeviceArray(table.ctypes.data, (2, surfaces.ROW.itemsize), owner=table)
    call(frames=cuda.FrameTable(lying), frame_index=INDEX)
    assert gpu.calls[-1][0] == (0, (table.ctypes.data, 2))
    table, standard = surfaces.rows(nv12(standard="bt601"))
    assert (table["width"].tolist(), standard) == ([8], "bt601")
    call(frames=cuda.FrameTable(lying, standard), frame_index=INDEX)
    assert gpu.calls[-1][0].source == 1


def test_no_boxes_launch_nothing(gpu):
    none = np.empty((0, 4), np.float32)
    out = Interface(np.empty((0, 3, 4, 4), np.float32))
    assert call(boxes=none, out=out) is out
    assert call(boxes=none, frames=[], out=None).shape == (0, 3, 4, 4)
    assert gpu.calls == []


def test_a_new_result_names_its_stream(gpu):
    result = call(out=None, dtype=np.float16, stream=5)
    assert (result.shape, result.dtype, result.stream) == ((1, 3, 4, 4), np.float16, 5)
    assert result.__cuda_array_interface__["stream"] == 5
    assert gpu.calls[0][5] == result.pointer == result.owner.pointer
    assert call(out=None).__cuda_array_interface__["stream"] == 1  # 0 is not allowed there


def test_an_array_with_a_stream_of_its_own_is_waited_for(gpu):
    call(frames=Interface(IMAGE, stream=9), boxes=Interface(BOXES, stream=9), stream=5)
    assert gpu.waited == [(0, 5, 9)]
    gpu.waited.clear()
    call(frames=Interface(IMAGE, stream=5), stream=5)
    call(frames=Interface(IMAGE, stream=1), stream=0)  # both are the default stream
    assert gpu.waited == []


def test_the_stream_of_out_waits_for_the_launch(gpu):
    """Else who takes ``out`` in the order of its own stream, or frees it there, comes too early."""
    order = []
    gpu.crop = lambda *arguments: order.append("crop")
    gpu.wait = lambda device, stream, producer: order.append((stream, producer))
    call(out=Interface(OUT, stream=9), stream=5)
    assert order == [(5, 9), "crop", (9, 5)]
    order.clear()
    call(out=Interface(OUT, stream=1), stream=0)
    call(out=Interface(OUT), boxes=Interface(BOXES, stream=9), stream=5)
    assert order == ["crop", (5, 9), "crop"]


def test_a_bound_crop_only_launches(gpu):
    frames, out = Interface(IMAGE, stream=3), Interface(OUT, stream=9)
    options = {"scale": 0.5, "frame_index": Interface(INDEX), "antialias": False}
    bound = cuda.bind(frames, Interface(BOXES), 4, out=out, **options)
    assert gpu.calls == []
    assert bound(77) is bound(5) is bound.out is out
    call(frames=frames, out=out, stream=5, **options)
    assert gpu.calls[0][:-1] == gpu.calls[1][:-1] == gpu.calls[2][:-1]
    assert [arguments[-1] for arguments in gpu.calls] == [77, 5, 5]
    assert gpu.waited == [(0, 5, 3), (0, 5, 9), (0, 9, 5)]  # all by the one that is not bound
    with pytest.raises(ValueError, match="out is needed"):
        cuda.bind(frames, Interface(BOXES), 4, out=None)
    with pytest.raises(ValueError, match="boxes must be at least one"):
        cuda.bind(frames, Interface(BOXES[:0]), 4, out=Interface(OUT[:0]))
    with pytest.raises(ValueError, match="scale"):
        cuda.bind(frames, Interface(BOXES), 4, out=out, scale=0)


def test_a_bound_crop_keeps_what_it_points_into(gpu):
    gpu.crop = lambda frames, *_: gpu.calls.append(frames)
    bound = cuda.bind(Interface(IMAGE), Interface(BOXES), 4, out=Interface(OUT))
    gc.collect()
    again = Frames(0, [(IMAGE.ctypes.data, 0, 24, 0, 6, 8)])
    assert bound._kept._table.rows.tolist() == again.rows
    bound()
    assert gpu.calls == [again]


def test_while_the_stream_is_captured_nothing_is_waited_for(gpu):
    gpu.captured = (5,)
    call(out=Interface(OUT, stream=9), boxes=Interface(BOXES, stream=3), stream=5)
    assert (len(gpu.calls), gpu.waited) == (1, [])
    with pytest.raises(ValueError, match="out is needed while the stream is captured"):
        call(out=None, stream=5)
    call(out=None, stream=6)


def test_new_memory_keeps_its_stream(gpu):
    """The memory is freed in the stream's order, when the last array of it goes."""

    class Stream:
        cuda_stream = 7

    stream = Stream()
    gone = weakref.ref(stream)
    result = call(out=None, stream=stream)
    del stream
    gpu.calls.clear()
    assert gone() is not None
    del result
    assert gone() is None


@pytest.mark.parametrize(
    "stream",
    [
        7,
        SimpleNamespace(cuda_stream=7),
        SimpleNamespace(ptr=7),
        SimpleNamespace(__cuda_stream__=lambda: (0, 7)),
    ],
)
def test_streams_of_other_libraries(gpu, stream):
    call(stream=stream)
    assert gpu.calls[0][-1] == 7


@pytest.mark.skipif(native is None, reason="built without CUDA: no nvcc was found")
def test_dlpack_in(gpu):
    boxes = Dlpack(BOXES)
    wide = np.zeros((6, 20, 3), np.uint8)[:, :8]
    call(frames=Dlpack(wide), boxes=boxes, frame_index=Dlpack(INDEX), out=Dlpack(OUT), stream=5)
    assert gpu.calls[0][0].rows == [(wide.ctypes.data, 0, 60, 0, 6, 8)]
    assert gpu.calls[0][1] == BOXES.ctypes.data
    call(boxes=boxes)
    assert boxes.streams == [5, 1]
    with pytest.raises(ValueError, match="boxes must lie in device memory"):
        call(boxes=Dlpack(BOXES, device=1))
    with pytest.raises(ValueError, match=r"boxes must have shape \(any, 4\)"):
        call(boxes=Dlpack(BOXES[:, :3]))
    with pytest.raises(ValueError, match="boxes must be float32, not bool"):
        call(boxes=Dlpack(np.zeros((1, 4), bool)))
    with pytest.raises(ValueError, match="element type"):
        call(boxes=Dlpack(np.zeros((1, 4), complex)))


@pytest.mark.skipif(native is None, reason="built without CUDA: no nvcc was found")
def test_dlpack_out_and_in_again(gpu):
    array = cuda.DeviceArray(OUT.ctypes.data, OUT.shape, OUT.dtype, owner=OUT, stream=3)
    gpu.devices[OUT.ctypes.data] = 2
    assert array.__dlpack_device__() == (2, 2)
    tensor = native.Imported(array.__dlpack__(stream=4, max_version=(1, 0)))
    assert gpu.waited == [(2, 4, 3)]
    assert (tensor.pointer, tensor.shape) == (OUT.ctypes.data, [1, 3, 4, 4])
    assert (tensor.strides, tensor.typestr) == ([48, 16, 4, 1], "<f4")
    array.__dlpack__(stream=-1)  # the consumer wants no order
    array.__dlpack__(stream=3)
    assert len(gpu.waited) == 1
    array.__dlpack__()  # the default stream; an unused capsule gives back what it holds
    assert gpu.waited[1:] == [(2, 1, 3)]
    cuda.DeviceArray(OUT.ctypes.data, OUT.shape, OUT.dtype, stream=0).__dlpack__()
    assert len(gpu.waited) == 2
    for dtype in (np.uint8, np.int64, np.float16, np.bool_):
        capsule = cuda.DeviceArray(4096, (2, 3), dtype).__dlpack__()
        assert native.Imported(capsule).typestr == np.dtype(dtype).str


@pytest.mark.skipif(native is None, reason="built without CUDA: no nvcc was found")
@pytest.mark.parametrize("wish", [{"copy": True}, {"dl_device": (2, 1)}, {"dl_device": (1, 0)}])
def test_dlpack_refuses_what_it_cannot_do(gpu, wish):
    array = cuda.DeviceArray(OUT.ctypes.data, OUT.shape, OUT.dtype, owner=OUT)
    array.__dlpack__(copy=False, dl_device=(2, 0))
    with pytest.raises(BufferError, match="without a copy"):
        array.__dlpack__(**wish)
    with pytest.raises(BufferError, match="read-only"):
        cuda.DeviceArray(4096, (2, 3), np.float32, read_only=True).__dlpack__()
    with pytest.raises(BufferError, match="no element type"):
        cuda.DeviceArray(4096, (2, 3), np.complex64).__dlpack__()


@pytest.mark.skipif(native is None, reason="built without CUDA: no nvcc was found")
def test_a_capsule_keeps_the_memory_and_is_used_once(gpu):
    class Owner:
        pass

    owner = Owner()
    gone = weakref.ref(owner)
    array = cuda.DeviceArray(4096, (2, 3), np.float32, owner=owner)
    capsule = array.__dlpack__()
    tensor = native.Imported(capsule)
    with pytest.raises(ValueError, match="incorrect name"):
        native.Imported(capsule)
    del owner, array, capsule
    assert gone() is not None
    assert tensor.shape == [2, 3]
    del tensor
    assert gone() is None


def nv12(y=(4, 8), uv=(2, 4, 2), standard="bt709"):
    return cuda.NV12(Interface(np.zeros(y, np.uint8)), Interface(np.zeros(uv, np.uint8)), standard)


BAD = [
    ("frames must have __cuda", {"frames": "frame.png"}),
    ("frames must have __cuda", {"frames": None}),
    (r"frames\[1\] must have __cuda", {"frames": [IMAGE, 3], "frame_index": INDEX}),
    ("frames must be uint8", {"frames": IMAGE.astype(np.int8)}),
    ("frames must have shape", {"frames": IMAGE[:, :, 0]}),
    ("frames must have shape", {"frames": IMAGE[:, :, :2]}),
    ("frames must be at least", {"frames": IMAGE[:0]}),
    ("frames must have adjacent", {"frames": IMAGE[:, ::2]}),
    ("frames must have adjacent", {"frames": IMAGE[:, :, ::-1]}),
    ("frames must be at most 64", {"frames": [IMAGE] * 65, "frame_index": INDEX}),
    ("all BGR or all NV12", {"frames": [IMAGE, nv12()], "frame_index": INDEX}),
    ("one standard", {"frames": [nv12(), nv12(standard="bt601")], "frame_index": INDEX}),
    ("frames.standard", {"frames": nv12(standard="bt2020")}),
    ("frames.y must have even", {"frames": nv12(y=(5, 8))}),
    ("frames.y must have even", {"frames": nv12(y=(4, 7))}),
    ("frames.uv must have shape", {"frames": nv12(uv=(2, 4))}),
    ("frames.uv must have shape", {"frames": nv12(uv=(4, 4, 2))}),
    (r"frames\[1\].y must have shape", {"frames": [nv12(), nv12(y=(4, 8, 1))]}),
    ("frames.standard", {"frames": cuda.FrameTable(IMAGE, "bt2020")}),
    ("frames.rows must lie", {"frames": cuda.FrameTable(IMAGE)}),
    ("frames.rows must have shape", {"frames": cuda.FrameTable(Interface(IMAGE))}),
    ("frames.rows must begin", {"frames": cuda.FrameTable(cuda.DeviceArray(4100, (1, 40)))}),
    ("boxes must have __cuda", {"boxes": [[0, 0, 4, 4]]}),
    ("boxes must be float32", {"boxes": BOXES.astype(np.float64)}),
    ("boxes must have shape", {"boxes": BOXES[0]}),
    ("boxes must have shape", {"boxes": BOXES[:, :3].copy()}),
    ("boxes must be C-contiguous", {"boxes": np.zeros((1, 8), np.float32)[:, ::2]}),
    ("boxes must begin", {"boxes": cuda.DeviceArray(4098, (1, 4), np.float32)}),
    ("size", {"size": 0}),
    ("size", {"size": (4, 4, 4)}),
    ("frame_index must be int64", {"frame_index": INDEX.astype(np.int32)}),
    ("frame_index must have shape", {"frame_index": np.zeros(2, np.int64)}),
    ("frame_index is needed", {"frames": [IMAGE, IMAGE]}),
    ("frame_index is needed", {"frames": []}),
    ("scale", {"scale": 0}),
    ("mean", {"mean": 0.5}),
    ("std", {"std": (1, 0, 1)}),
    ("border", {"border": (0, 0, np.nan)}),
    ("dtype", {"dtype": np.float64}),
    ("out must be float32", {"out": OUT.astype(np.float16)}),
    ("out must be float16", {"dtype": np.float16}),
    ("out must have shape", {"out": OUT[:, :2].copy()}),
    ("out must be C-contiguous", {"out": np.zeros((1, 3, 4, 8), np.float32)[..., ::2]}),
    ("out must begin", {"out": cuda.DeviceArray(4098, OUT.shape, np.float32)}),
    ("out must be writable", {"out": Interface(OUT, read_only=True)}),
    ("out must have __cuda", {"out": [0.0]}),
    ("stream", {"stream": -1}),
    ("stream", {"stream": "0"}),
    ("stream", {"stream": True}),
]


@pytest.mark.parametrize(("message", "changes"), BAD)
def test_a_bad_argument_is_named(gpu, message, changes):
    with pytest.raises(ValueError, match=message):
        call(**changes)
    assert gpu.calls == []


def test_arrays_in_the_wrong_place(gpu):
    gpu.devices[BOXES.ctypes.data] = -1
    with pytest.raises(ValueError, match="boxes must lie in device memory"):
        call()
    gpu.devices[BOXES.ctypes.data] = 1
    with pytest.raises(ValueError, match="the same device"):
        call()
    assert gpu.calls == []


def test_without_a_cuda_build_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(native_module, "_cuda", None)
    assert cuda.device_count() == 0
    for attempt in (call, lambda: cuda.empty((1,), np.float32)):
        with pytest.raises(BackendError, match="EDGEPOSE_CUDA=1"):
            attempt()


def has_gpu() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(native is None, reason="built without CUDA: no nvcc was found")
@pytest.mark.skipif(has_gpu(), reason="there is an NVIDIA driver here")
def test_on_a_machine_with_no_gpu():
    assert cuda.device_count() == 0
    runtime, driver = native.versions()
    assert runtime >= 11070
    assert driver == 0
    for _ in range(2):  # an error does not stick to the next call
        with pytest.raises(BackendError, match="CUDA could not tell the current device"):
            native.capturing(0, 0)
        assert cuda.device_count() == 0
    with pytest.raises(BackendError, match="CUDA could not"):
        call()
    with pytest.raises(BackendError, match="CUDA could not"):
        cuda.empty((4,), np.float32)

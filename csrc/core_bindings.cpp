// edgepose._core: the CPU kernels. Arguments are checked for memory safety here; the messages
// for people are in edgepose/crop/__init__.py.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <vector>

#include "bindings.h"
#include "crop.h"

namespace py = pybind11;

namespace {

using edgepose::Box;
using edgepose::CropSpec;
using edgepose::Frame;

// Below this the cost of releasing and taking the GIL back is worse than holding it. Other threads
// hand frames on meanwhile, and what is estimated is the least: warm caches.
constexpr double kReleaseGilNs = 20e3;

void require(bool condition, const char* message) {
  if (!condition) throw py::value_error(message);
}

Frame as_frame(const py::array& frame) {
  require(py::isinstance<py::array_t<std::uint8_t>>(frame) && frame.ndim() == 3 &&
              frame.shape(0) >= 1 && frame.shape(1) >= 1 && frame.shape(2) == 3,
          "frames must be uint8 of shape (H, W, 3)");
  require(frame.strides(2) == 1 && (frame.shape(1) == 1 || frame.strides(1) == 3),
          "frames must have adjacent pixels in a row");
  return {static_cast<const std::uint8_t*>(frame.data()), frame.shape(0), frame.shape(1),
          frame.strides(0)};
}

void crop(const std::vector<py::array>& frames, const py::array_t<float, py::array::c_style>& boxes,
          const py::array_t<std::int64_t, py::array::c_style>& frame_index, py::array& out,
          const edgepose::NormalisationTuple& normalisation, bool antialias, std::size_t isa,
          std::size_t threads) {
  std::vector<Frame> views;
  views.reserve(frames.size());
  for (const py::array& frame : frames) views.push_back(as_frame(frame));

  require(boxes.ndim() == 2 && boxes.shape(1) == 4, "boxes must have shape (n, 4)");
  const py::ssize_t n = boxes.shape(0);
  require(frame_index.ndim() == 1 && frame_index.shape(0) == n, "frame_index must have shape (n,)");
  for (py::ssize_t i = 0; i < n; ++i)
    require(frame_index.data()[i] >= 0 &&
                frame_index.data()[i] < static_cast<std::int64_t>(views.size()),
            "frame_index is out of range");

  const bool half = out.dtype().kind() == 'f' && out.itemsize() == 2;
  require(half || py::isinstance<py::array_t<float>>(out), "out must be float32 or float16");
  constexpr py::ssize_t kMaxSize = 1 << 15;  // see make_spec
  require(out.ndim() == 4 && out.shape(0) == n && out.shape(1) == 3 && out.shape(2) <= kMaxSize &&
              out.shape(3) <= kMaxSize,
          "out must have shape (n, 3, height, width)");
  require((out.flags() & py::array::c_style) && out.writeable(),
          "out must be C-contiguous and writable");

  require(isa < edgepose::cpu_isas().size(), "isa is out of range");
  require(threads >= 1, "threads must be at least 1");

  const CropSpec spec =
      edgepose::make_spec(static_cast<int>(out.shape(2)), static_cast<int>(out.shape(3)), half,
                          normalisation, antialias);

  static_assert(sizeof(Box) == 4 * sizeof(float), "a box is four adjacent floats");
  const Box* first = reinterpret_cast<const Box*>(boxes.data());
  const std::size_t count = static_cast<std::size_t>(n);
  void* to = out.mutable_data();
  if (threads > 1 || edgepose::estimate_cpu_ns(views.data(), first, frame_index.data(), count, spec,
                                               isa) > kReleaseGilNs) {
    py::gil_scoped_release release;
    edgepose::crop_cpu(views.data(), first, frame_index.data(), count, spec, to, isa, threads);
  } else {
    edgepose::crop_cpu(views.data(), first, frame_index.data(), count, spec, to, isa, threads);
  }
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "edgepose's CPU kernels; use them through edgepose.crop.";
  m.def("crop", &crop, py::arg("frames"), py::arg("boxes").noconvert(),
        py::arg("frame_index").noconvert(), py::arg("out").noconvert(), py::arg("normalisation"),
        py::arg("antialias"), py::arg("isa") = 0, py::arg("threads") = 1);
  m.def("cpu_isas", &edgepose::cpu_isas);
}

// The kernels by integer pointers: the same face for edgepose._cuda and, for their source compiled
// for the host, edgepose._host, where `device` and `stream` are ignored. Arguments are checked by
// the callers, who know the arrays that the pointers stand for.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bindings.h"
#include "boxes.h"
#include "crop_cuda.h"
#include "cuda_check.h"

namespace edgepose {

using Address = std::uintptr_t;

template <typename T>
T* as(Address address) {
  return reinterpret_cast<T*>(address);
}

inline cudaStream_t as_stream(Address handle) { return reinterpret_cast<cudaStream_t>(handle); }

namespace bindings {

inline void crop(const DeviceFrames& frames, Address boxes, Address frame_index, std::int64_t count,
                 const CropSpec& spec, Address out, int device, Address stream) {
  const CurrentDevice current(device);
  check(crop_cuda(frames, as<const Box>(boxes), as<const std::int64_t>(frame_index), count, spec,
                  as<void>(out), as_stream(stream)),
        "launch the crop kernel");
}

inline void square_boxes(const Rows& rows, Address boxes, float margin, Address out, int device,
                         Address stream) {
  const CurrentDevice current(device);
  check(edgepose::square_boxes(rows, as<const Box>(boxes), margin, as<Box>(out), as_stream(stream)),
        "launch the kernel of square boxes");
}

inline void denormalise(const Rows& rows, Address points, Address boxes, const NextBoxes* next,
                        Address out, int device, Address stream) {
  const CurrentDevice current(device);
  check(edgepose::denormalise(rows, as<const float>(points), as<const Box>(boxes), next,
                              as<float>(out), as_stream(stream)),
        "launch the kernel that denormalises points");
}

inline void refine(const Rows& rows, Address points, Address displacements, Address boxes,
                   const NextBoxes* next, Address out, int device, Address stream) {
  const CurrentDevice current(device);
  check(edgepose::refine(rows, as<const float>(points), as<const float>(displacements),
                         as<const Box>(boxes), next, as<float>(out), as_stream(stream)),
        "launch the kernel that refines points");
}

inline DeviceFrames make_frames(int source, Address table, std::int32_t count, bool on_device) {
  if (source < 0 || source > static_cast<int>(Source::kNv12Bt709))
    throw pybind11::value_error("source must be 0 (BGR), 1 (NV12, BT.601) or 2 (NV12, BT.709)");
  return {static_cast<Source>(source), as<const DeviceFrame>(table), count, on_device};
}

inline Rows make_rows(std::int32_t rows, std::int32_t points, Address count) {
  return {rows, points, as<const std::int32_t>(count)};
}

inline NextBoxes make_next(float sigma,
                           const std::array<std::array<std::int32_t, 2>, kMaxPairs>& pairs,
                           float floor, Address frame_index, Address boxes, Address indices) {
  NextBoxes next = {sigma,          {},
                    floor,          as<const std::int64_t>(frame_index),
                    as<Box>(boxes), as<std::int64_t>(indices)};
  for (std::size_t p = 0; p < kMaxPairs; ++p)
    for (std::size_t end = 0; end < 2; ++end) next.pairs[p][end] = pairs[p][end];
  return next;
}

}  // namespace bindings

inline void bind_kernels(pybind11::module_& m) {
  namespace py = pybind11;
  py::register_local_exception<CudaError>(
      m, "Error", py::module_::import("edgepose.errors").attr("BackendError"));
  m.attr("MAX_FRAMES") = kMaxHostFrames;
  m.attr("MAX_POINTS") = kMaxPoints;
  m.attr("MAX_SIDE") = kMaxSide;

  py::class_<CropSpec>(m, "CropSpec", py::module_local())
      .def(py::init(&make_spec), py::arg("height"), py::arg("width"), py::arg("half"),
           py::arg("normalisation"), py::arg("antialias") = true);
  py::class_<DeviceFrames>(m, "Frames", py::module_local())
      .def(py::init(&bindings::make_frames), py::arg("source"), py::arg("table"), py::arg("count"),
           py::arg("on_device"));
  py::class_<Rows>(m, "Rows", py::module_local())
      .def(py::init(&bindings::make_rows), py::arg("rows"), py::arg("points"),
           py::arg("count") = 0);
  py::class_<NextBoxes>(m, "NextBoxes", py::module_local())
      .def(py::init(&bindings::make_next), py::arg("sigma"), py::arg("pairs"), py::arg("floor"),
           py::arg("frame_index"), py::arg("boxes"), py::arg("indices"));

  m.def("crop", &bindings::crop, py::arg("frames"), py::arg("boxes"), py::arg("frame_index"),
        py::arg("count"), py::arg("spec"), py::arg("out"), py::arg("device"), py::arg("stream"));
  m.def("square_boxes", &bindings::square_boxes, py::arg("rows"), py::arg("boxes"),
        py::arg("margin"), py::arg("out"), py::arg("device"), py::arg("stream"));
  m.def("denormalise", &bindings::denormalise, py::arg("rows"), py::arg("points"), py::arg("boxes"),
        py::arg("next"), py::arg("out"), py::arg("device"), py::arg("stream"));
  m.def("refine", &bindings::refine, py::arg("rows"), py::arg("points"), py::arg("displacements"),
        py::arg("boxes"), py::arg("next"), py::arg("out"), py::arg("device"), py::arg("stream"));
}

}  // namespace edgepose

// The part of DLPack's ABI (version 0, the unversioned capsule "dltensor") that arrays cross the
// border with; https://dmlc.github.io/dlpack defines it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace edgepose {

void bind_dlpack(pybind11::module_& m);

namespace dlpack {

constexpr std::int32_t kCuda = 2;
constexpr std::uint8_t kInt = 0;
constexpr std::uint8_t kUInt = 1;
constexpr std::uint8_t kFloat = 2;
constexpr std::uint8_t kBool = 6;

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t dimensions;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: C-contiguous
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

}  // namespace dlpack

}  // namespace edgepose

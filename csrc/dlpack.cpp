// Arrays across the border to other libraries, by DLPack's capsules.
#include "dlpack.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace edgepose {
namespace {

using Address = std::uintptr_t;

// What another library's capsule describes; the capsule's memory lives as long as this.
class Imported {
 public:
  explicit Imported(const py::capsule& capsule) {
    auto* managed =
        static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (managed == nullptr) throw py::error_already_set();
    if (PyCapsule_SetName(capsule.ptr(), "used_dltensor") != 0) throw py::error_already_set();
    managed_.reset(managed);
  }
  Address pointer() const {
    return reinterpret_cast<Address>(managed_->tensor.data) + managed_->tensor.byte_offset;
  }
  std::vector<std::int64_t> shape() const {
    const dlpack::Tensor& tensor = managed_->tensor;
    return {tensor.shape, tensor.shape + tensor.dimensions};
  }
  std::optional<std::vector<std::int64_t>> strides() const {
    const dlpack::Tensor& tensor = managed_->tensor;
    if (tensor.strides == nullptr) return std::nullopt;
    return std::vector<std::int64_t>{tensor.strides, tensor.strides + tensor.dimensions};
  }
  // As in __cuda_array_interface__; empty for what NumPy has no name for.
  std::string typestr() const {
    const dlpack::DataType& dtype = managed_->tensor.dtype;
    if (dtype.lanes != 1 || dtype.bits % 8 != 0) return "";
    const char code = dtype.code == dlpack::kInt     ? 'i'
                      : dtype.code == dlpack::kUInt  ? 'u'
                      : dtype.code == dlpack::kFloat ? 'f'
                      : dtype.code == dlpack::kBool  ? 'b'
                                                     : '?';
    if (code == '?') return "";
    return (dtype.bits == 8 ? "|" : "<") + (code + std::to_string(dtype.bits / 8));
  }

 private:
  struct Release {
    void operator()(dlpack::ManagedTensor* managed) const {
      if (managed->deleter != nullptr) managed->deleter(managed);
    }
  };
  std::unique_ptr<dlpack::ManagedTensor, Release> managed_;
};

// What an exported capsule keeps alive.
struct Exported {
  dlpack::ManagedTensor managed;
  std::vector<std::int64_t> shape, strides;
  py::object owner;
};

void release(dlpack::ManagedTensor* managed) {
  if (!Py_IsInitialized()) return;  // a consumer outlived the interpreter, and with it the owner
  const py::gil_scoped_acquire gil;
  delete static_cast<Exported*>(managed->context);
}

py::capsule to_dlpack(py::object owner, Address pointer, std::vector<std::int64_t> shape,
                      std::vector<std::int64_t> strides, const std::string& typestr, int device) {
  const char kind = typestr.at(1);
  if (kind != 'f' && kind != 'u' && kind != 'i' && kind != 'b')
    throw py::buffer_error("DLPack has no element type " + typestr);
  const auto code = kind == 'f'   ? dlpack::kFloat
                    : kind == 'u' ? dlpack::kUInt
                    : kind == 'b' ? dlpack::kBool
                                  : dlpack::kInt;
  const auto bits = static_cast<std::uint8_t>(8 * std::stoi(typestr.substr(2)));
  auto exported = std::make_unique<Exported>();
  exported->shape = std::move(shape);
  exported->strides = std::move(strides);
  exported->owner = std::move(owner);
  exported->managed = {{reinterpret_cast<void*>(pointer),
                        {dlpack::kCuda, device},
                        static_cast<std::int32_t>(exported->shape.size()),
                        {code, bits, 1},
                        exported->shape.data(),
                        exported->strides.data(),
                        0},
                       exported.get(),
                       release};
  PyObject* capsule = PyCapsule_New(&exported->managed, "dltensor", [](PyObject* unused) {
    // A consumer renames the capsule and calls the deleter itself.
    if (!PyCapsule_IsValid(unused, "dltensor")) return;
    release(static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(unused, "dltensor")));
  });
  if (capsule == nullptr) throw py::error_already_set();
  static_cast<void>(exported.release());
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace

void bind_dlpack(py::module_& m) {
  py::class_<Imported>(m, "Imported")
      .def(py::init<const py::capsule&>(), py::arg("capsule"))
      .def_property_readonly("pointer", &Imported::pointer)
      .def_property_readonly("shape", &Imported::shape)
      .def_property_readonly("strides", &Imported::strides)
      .def_property_readonly("typestr", &Imported::typestr);
  m.def("to_dlpack", &to_dlpack, py::arg("owner"), py::arg("pointer"), py::arg("shape"),
        py::arg("strides"), py::arg("typestr"), py::arg("device"));
}

}  // namespace edgepose

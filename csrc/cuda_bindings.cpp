// edgepose._cuda: the CUDA kernels, memory in a stream's order, and where arrays lie.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <utility>

#include "crop_cuda.h"
#include "cuda_check.h"
#include "cuda_device.h"
#include "dlpack.h"
#include "kernel_bindings.h"

namespace py = pybind11;

namespace {

using edgepose::Address;
using edgepose::as_stream;
using edgepose::check;
using edgepose::CudaError;
using edgepose::CurrentDevice;

// What this module was built with and what the driver knows, as 1000 major + 10 minor; 0: there is
// no driver.
std::pair<int, int> versions() {
  int runtime = 0, driver = 0;
  check(cudaRuntimeGetVersion(&runtime), "tell the runtime's version");
  check(cudaDriverGetVersion(&driver), "tell the driver's version");
  return {runtime, driver};
}

// 0 without a driver or a GPU. A driver that is too old is an error, which says so.
int device_count() {
  if (versions().second == 0) return 0;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  check(error, "count the devices");
  return count;
}

// The device that can read this address, or -1 for memory that none reads there: the host's, also
// where it is registered under another address.
int device_of(Address address) {
  cudaPointerAttributes attributes = {};
  check(cudaPointerGetAttributes(&attributes, reinterpret_cast<const void*>(address)),
        "look up a pointer");
  return reinterpret_cast<Address>(attributes.devicePointer) == address ? attributes.device : -1;
}

// Whether work given to the stream is captured rather than run.
bool capturing(int device, Address stream) {
  const CurrentDevice current(device);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(as_stream(stream), &status), "ask whether a stream is captured");
  return status != cudaStreamCaptureStatusNone;
}

// Lets the current device keep freed memory for the next allocation; by default every
// synchronisation gives it back to the system. False: the device has no pool (some Jetsons).
bool keep_pool(int device) {
  int supported = 0;
  check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device),
        "ask for memory pools");
  if (supported == 0) return false;
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, device), "find the memory pool");
  std::uint64_t bytes = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &bytes),
        "set up the memory pool");
  return true;
}

// Stream-ordered memory: ready on its stream when made, and freed there in order. Without a pool it
// is plain memory, whose freeing waits for the device.
class Memory {
 public:
  // `owner`, of the stream, is kept: the stream must not end before.
  Memory(std::size_t bytes, int device, Address stream, py::object owner)
      : device_(device), stream_(stream), owner_(std::move(owner)) {
    const CurrentDevice current(device);
    static std::map<int, bool> pools;  // the GIL guards it
    const auto [known, fresh] = pools.try_emplace(device, false);
    if (fresh) {
      try {
        known->second = keep_pool(device);
      } catch (...) {
        pools.erase(known);
        throw;
      }
    }
    pooled_ = known->second;
    check(pooled_ ? cudaMallocAsync(&data_, bytes, as_stream(stream)) : cudaMalloc(&data_, bytes),
          "allocate device memory");
  }
  ~Memory() {
    const py::error_scope pending;  // an exception that is being raised stays
    try {
      const CurrentDevice current(device_);
      check(pooled_ ? cudaFreeAsync(data_, as_stream(stream_)) : cudaFree(data_),
            "free device memory");
    } catch (const CudaError& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
      PyErr_WriteUnraisable(nullptr);
    }
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Address pointer() const { return reinterpret_cast<Address>(data_); }

 private:
  void* data_ = nullptr;
  int device_;
  Address stream_;
  bool pooled_ = false;
  py::object owner_;
};

// Makes later work on `stream` wait for what `producer` has been given so far; the host does not.
void wait(int device, Address stream, Address producer) {
  const CurrentDevice current(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event");
  cudaError_t error = cudaEventRecord(event, as_stream(producer));
  if (error == cudaSuccess) error = cudaStreamWaitEvent(as_stream(stream), event, 0);
  const cudaError_t destroyed = cudaEventDestroy(event);
  check(error, "order two streams");
  check(destroyed, "destroy an event");
}

void launch_nothing(int device, Address stream) {
  const CurrentDevice current(device);
  check(edgepose::launch_nothing(as_stream(stream)), "launch an empty kernel");
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "edgepose's CUDA kernels; use them through edgepose.crop.cuda.";
  edgepose::bind_kernels(m);
  edgepose::bind_device(m);
  edgepose::bind_graph(m);
  edgepose::bind_dlpack(m);
  m.attr("ARCHITECTURES") = EDGEPOSE_CUDA_ARCHS;
  m.def("device_count", &device_count);
  m.def("versions", &versions);
  m.def("capturing", &capturing, py::arg("device"), py::arg("stream"));
  m.def("device_of", &device_of, py::arg("pointer"));
  m.def("wait", &wait, py::arg("device"), py::arg("stream"), py::arg("producer"));
  m.def("launch_nothing", &launch_nothing, py::arg("device"), py::arg("stream"));
  py::class_<Memory>(m, "Memory")
      .def(py::init<std::size_t, int, Address, py::object>(), py::arg("bytes"), py::arg("device"),
           py::arg("stream"), py::arg("owner") = py::none())
      .def_property_readonly("pointer", &Memory::pointer);
}

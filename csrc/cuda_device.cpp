#include "cuda_device.h"

#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace py = pybind11;

namespace edgepose {
namespace {

// Host memory that copies run on without waiting. All of it is mapped: with unified addressing,
// which every GPU here has, kernels may use the same address.
class Pinned {
 public:
  Pinned(std::size_t bytes, int device) : device_(device), bytes_(bytes) {
    const CurrentDevice current(device);
    check(cudaHostAlloc(&data_, bytes, cudaHostAllocMapped | cudaHostAllocPortable),
          "allocate pinned memory");
  }
  ~Pinned() {
    release(device_, "free pinned memory", [this] { return cudaFreeHost(data_); });
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  py::buffer_info buffer() const {
    return {data_, 1, py::format_descriptor<std::uint8_t>::format(),
            static_cast<py::ssize_t>(bytes_), false};
  }

 private:
  void* data_ = nullptr;
  int device_;
  std::size_t bytes_;
};

class Event {
 public:
  // `blocking`: a thread that waits sleeps, which costs some microseconds and no core.
  Event(int device, bool timing, bool blocking) : device_(device) {
    const CurrentDevice current(device);
    const unsigned flags = (timing ? 0u : static_cast<unsigned>(cudaEventDisableTiming)) |
                           (blocking ? static_cast<unsigned>(cudaEventBlockingSync) : 0u);
    check(cudaEventCreateWithFlags(&event_, flags), "make an event");
  }
  ~Event() {
    release(device_, "destroy an event", [this] { return cudaEventDestroy(event_); });
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Stream& stream, bool external) const {
    const CurrentDevice current(device_);
    check(cudaEventRecordWithFlags(event_, stream.get(),
                                   external ? cudaEventRecordExternal : cudaEventRecordDefault),
          "record an event");
  }
  void hold(const Stream& stream) const {
    const CurrentDevice current(device_);
    check(cudaStreamWaitEvent(stream.get(), event_, 0), "make a stream wait");
  }
  void synchronize() const {
    const CurrentDevice current(device_);
    check(cudaEventSynchronize(event_), "finish what an event stands for");
  }
  bool done() const {
    const CurrentDevice current(device_);
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    check(status, "ask for an event");
    return true;
  }
  double seconds_since(const Event& earlier) const {
    const CurrentDevice current(device_);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "tell the time of events");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
  int device_;
};

void copy(Address target, Address source, std::size_t bytes, const Stream& stream) {
  const CurrentDevice current(stream.device());
  check(cudaMemcpyAsync(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source),
                        bytes, cudaMemcpyDefault, stream.get()),
        "copy memory");
}

py::dict facts(int device) {
  cudaDeviceProp properties = {};
  check(cudaGetDeviceProperties(&properties, device), "describe the device");
  int runtime = 0, driver = 0;
  check(cudaRuntimeGetVersion(&runtime), "tell the runtime's version");
  check(cudaDriverGetVersion(&driver), "tell the driver's version");
  py::dict told;
  told["name"] = std::string(properties.name);
  told["capability"] = std::pair(properties.major, properties.minor);
  told["memory"] = properties.totalGlobalMem;
  told["integrated"] = properties.integrated != 0;
  told["multiprocessors"] = properties.multiProcessorCount;
  told["runtime"] = runtime;
  told["driver"] = driver;
  return told;
}

// Free and all bytes of the device.
std::pair<std::size_t, std::size_t> memory(int device) {
  const CurrentDevice current(device);
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "tell the free memory");
  return {free, total};
}

}  // namespace

void bind_device(py::module_& m) {
  const auto unlocked = py::call_guard<py::gil_scoped_release>();
  m.def("facts", &facts, py::arg("device"));
  m.def("memory", &memory, py::arg("device"));
  m.def("copy", &copy, py::arg("target"), py::arg("source"), py::arg("bytes"), py::arg("stream"));
  py::class_<Pinned>(m, "Pinned", py::buffer_protocol())
      .def(py::init<std::size_t, int>(), py::arg("bytes"), py::arg("device"))
      .def_buffer(&Pinned::buffer);
  py::class_<Stream>(m, "Stream")
      .def(py::init<int, int>(), py::arg("device"), py::arg("priority"))
      .def_property_readonly("handle", &Stream::handle)
      .def(
          "wait", [](const Stream& stream, const Event& event) { event.hold(stream); },
          py::arg("event"))
      .def("synchronize", &Stream::synchronize, unlocked);
  py::class_<Event>(m, "Event")
      .def(py::init<int, bool, bool>(), py::arg("device"), py::arg("timing"), py::arg("blocking"))
      .def("record", &Event::record, py::arg("stream"), py::arg("external") = false)
      .def("synchronize", &Event::synchronize, unlocked)
      .def("done", &Event::done)
      .def("seconds_since", &Event::seconds_since, py::arg("earlier"));
}

}  // namespace edgepose

#include "cuda_device.h"

#include <cuda_runtime_api.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda_check.h"

namespace py = pybind11;

namespace edgepose {
namespace {

using Address = std::uintptr_t;

// For destructors, which cannot throw: the process may be ending, or the context lost.
template <typename Release>
void release(int device, const char* what, Release&& give_back) {
  if (!Py_IsInitialized()) return;
  const py::error_scope pending;  // an exception that is being raised stays
  try {
    const CurrentDevice current(device);
    check(give_back(), what);
  } catch (const CudaError& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    PyErr_WriteUnraisable(nullptr);
  }
}

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

class Event;

class Stream {
 public:
  // `priority`: 0 is the least, negative ones come first, as far as the device knows them.
  Stream(int device, int priority) : device_(device) {
    const CurrentDevice current(device);
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "ask for priorities");
    const int chosen = priority < greatest ? greatest : priority > least ? least : priority;
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, chosen), "make a stream");
  }
  ~Stream() {
    release(device_, "destroy a stream", [this] { return cudaStreamDestroy(stream_); });
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  Address handle() const { return reinterpret_cast<Address>(stream_); }
  cudaStream_t get() const { return stream_; }
  int device() const { return device_; }
  void synchronize() const {
    const CurrentDevice current(device_);
    check(cudaStreamSynchronize(stream_), "finish the work of a stream");
  }

 private:
  cudaStream_t stream_ = nullptr;
  int device_;
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

class Graph {
 public:
  // Takes over what a capture gave. Uploaded at once, so that the first launch is not the slow one.
  Graph(cudaGraph_t graph, const Stream& stream) : device_(stream.device()) {
    const CurrentDevice current(device_);
    const std::unique_ptr<CUgraph_st, decltype(&cudaGraphDestroy)> owned(graph, &cudaGraphDestroy);
    std::size_t count = 0;
    check(cudaGraphGetNodes(graph, nullptr, &count), "count a graph's nodes");
    std::vector<cudaGraphNode_t> nodes(count);
    check(cudaGraphGetNodes(graph, nodes.data(), &count), "list a graph's nodes");
    for (const cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
      check(cudaGraphNodeGetType(node, &type), "tell a node's kind");
      ++kinds_[type == cudaGraphNodeTypeKernel   ? "kernel"
               : type == cudaGraphNodeTypeMemcpy ? "copy"
               : type == cudaGraphNodeTypeMemset ? "fill"
                                                 : "other"];
    }
    nodes_ = count;
    check(cudaGraphInstantiateWithFlags(&executable_, graph, 0), "instantiate a graph");
    const cudaError_t uploaded = cudaGraphUpload(executable_, stream.get());
    if (uploaded != cudaSuccess) {
      static_cast<void>(cudaGraphExecDestroy(executable_));
      check(uploaded, "upload a graph");
    }
  }
  ~Graph() { close(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(const Stream& stream) const {
    if (executable_ == nullptr) throw CudaError("This graph is closed; capture it again.");
    const CurrentDevice current(device_);
    check(cudaGraphLaunch(executable_, stream.get()), "launch a graph");
  }
  void close() {
    const cudaGraphExec_t executable = std::exchange(executable_, nullptr);
    if (executable == nullptr) return;
    release(device_, "destroy a graph", [&] { return cudaGraphExecDestroy(executable); });
  }
  std::size_t nodes() const { return nodes_; }
  const std::map<std::string, int>& kinds() const { return kinds_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
  int device_;
  std::size_t nodes_ = 0;
  std::map<std::string, int> kinds_;
};

// Thread-local: what other threads do, allocations included, does not break it.
void begin_capture(const Stream& stream) {
  const CurrentDevice current(stream.device());
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "begin a capture");
}

std::unique_ptr<Graph> end_capture(const Stream& stream) {
  const CurrentDevice current(stream.device());
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream.get(), &graph), "capture a graph");
  return std::make_unique<Graph>(graph, stream);
}

// After an error inside: the stream is free again, and the capture's own error of no interest.
void drop_capture(const Stream& stream) {
  const CurrentDevice current(stream.device());
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess && graph != nullptr)
    static_cast<void>(cudaGraphDestroy(graph));
  static_cast<void>(cudaGetLastError());
}

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
  m.def("begin_capture", &begin_capture, py::arg("stream"));
  m.def("end_capture", &end_capture, py::arg("stream"));
  m.def("drop_capture", &drop_capture, py::arg("stream"));
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
  py::class_<Graph>(m, "Graph")
      .def("launch", &Graph::launch, py::arg("stream"))
      .def("close", &Graph::close)
      .def_property_readonly("nodes", &Graph::nodes)
      .def_property_readonly("kinds", &Graph::kinds);
}

}  // namespace edgepose

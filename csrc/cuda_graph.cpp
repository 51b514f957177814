// Captures of a stream's work, and the graphs that they give.
#include <pybind11/stl.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda_device.h"

namespace py = pybind11;

namespace edgepose {
namespace {

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

}  // namespace

void bind_graph(py::module_& m) {
  m.def("begin_capture", &begin_capture, py::arg("stream"));
  m.def("end_capture", &end_capture, py::arg("stream"));
  m.def("drop_capture", &drop_capture, py::arg("stream"));
  py::class_<Graph>(m, "Graph")
      .def("launch", &Graph::launch, py::arg("stream"))
      .def("close", &Graph::close)
      .def_property_readonly("nodes", &Graph::nodes)
      .def_property_readonly("kinds", &Graph::kinds);
}

}  // namespace edgepose

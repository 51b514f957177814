// A device for edgepose._cuda: what edgepose/cuda/native.py puts behind its protocol. Memory,
// streams and events are in cuda_device.cpp, captures and graphs in cuda_graph.cpp.
#pragma once

#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "cuda_check.h"

namespace edgepose {

using Address = std::uintptr_t;

// For destructors, which cannot throw: the process may be ending, or the context lost.
template <typename Release>
void release(int device, const char* what, Release&& give_back) {
  if (!Py_IsInitialized()) return;
  const pybind11::error_scope pending;  // an exception that is being raised stays
  try {
    const CurrentDevice current(device);
    check(give_back(), what);
  } catch (const CudaError& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    PyErr_WriteUnraisable(nullptr);
  }
}

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

void bind_device(pybind11::module_& m);
void bind_graph(pybind11::module_& m);

}  // namespace edgepose

// CUDA's errors as exceptions, and the current device for the length of a scope.
#pragma once

#include <stdexcept>
#include <string>

#include "cuda_types.h"

namespace edgepose {

struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#ifdef EDGEPOSE_CUDA_ON_HOST

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw CudaError(std::string("The host could not ") + what + ".");
}

class CurrentDevice {
 public:
  explicit CurrentDevice(int) {}
};

#else

// Throws on failure, and clears the thread's last error then: it belongs to this call, not to the
// next launch that asks.
inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw CudaError(std::string("CUDA could not ") + what + ": " + cudaGetErrorString(error) + " (" +
                  cudaGetErrorName(error) + ").");
}

// Makes a device current and puts the previous one back.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    check(cudaGetDevice(&previous_), "tell the current device");
    changed_ = device != previous_;
    if (changed_) check(cudaSetDevice(device), "select the device");
  }
  ~CurrentDevice() {
    // It was current before, so this cannot fail unless the context is lost, and then every later
    // call says so.
    if (changed_) static_cast<void>(cudaSetDevice(previous_));
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

#endif

}  // namespace edgepose

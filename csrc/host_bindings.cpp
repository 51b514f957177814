// edgepose._host: the source of the CUDA kernels, compiled for the host, with the face of
// edgepose._cuda on host pointers. A call has run when it returns.
#include <pybind11/pybind11.h>

#include "kernel_bindings.h"

PYBIND11_MODULE(_host, m) {
  m.doc() = "edgepose's CUDA kernels on the host, for tests and machines without a GPU.";
  edgepose::bind_kernels(m);
}

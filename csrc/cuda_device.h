// Memory, streams, events and graphs of a device for edgepose._cuda: what edgepose/cuda/native.py
// puts behind its protocol.
#pragma once

#include <pybind11/pybind11.h>

namespace edgepose {

void bind_device(pybind11::module_& m);

}  // namespace edgepose

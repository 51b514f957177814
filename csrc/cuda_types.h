// CUDA's types for the contracts of kernels; where their source is compiled for the host,
// stand-ins.
#pragma once

#ifdef EDGEPOSE_CUDA_ON_HOST

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };

#else

#include <cuda_runtime_api.h>

#endif

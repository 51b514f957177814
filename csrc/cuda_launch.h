// One kernel source, two compilers. Under nvcc a kernel is a kernel. Under g++ a launch is a loop
// over the blocks and every phase of a block a loop over its threads, so that tests and sanitizers
// run the same source on a machine with no GPU.
//
// A kernel is a sequence of phases, EDGEPOSE_THREADS(t, n) { ... } with t from 0 to n - 1, and
// EDGEPOSE_SYNC() between two that share memory; what a thread keeps from one phase to the next
// lies in shared memory.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_types.h"
#include "half.h"

#ifdef __CUDACC__

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define EDGEPOSE_HD __host__ __device__ __forceinline__
#define EDGEPOSE_DEVICE __device__ __forceinline__
#define EDGEPOSE_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define EDGEPOSE_PARAMETER const __grid_constant__
#define EDGEPOSE_SHARED __shared__
#define EDGEPOSE_THREADS(t, n) if (const int t = static_cast<int>(threadIdx.x); t < (n))
#define EDGEPOSE_SYNC() __syncthreads()
#define EDGEPOSE_BLOCK() \
  edgepose::Grid { blockIdx.x, blockIdx.y, blockIdx.z }

#else

#define EDGEPOSE_HD inline
#define EDGEPOSE_DEVICE inline
#define EDGEPOSE_KERNEL(threads, blocks) void
#define EDGEPOSE_PARAMETER const
#define EDGEPOSE_SHARED
#define EDGEPOSE_THREADS(t, n) for (int t = 0; t < (n); ++t)
#define EDGEPOSE_SYNC() static_cast<void>(0)
#define EDGEPOSE_BLOCK() edgepose::current_block

#endif

namespace edgepose {

// Numbers of blocks, or one block's place among them.
struct Grid {
  unsigned x, y, z;
};

#ifdef __CUDACC__
// Returns the launch's own status: cudaGetLastError() would give what an earlier call left behind.
template <typename Argument>
cudaError_t run_kernel(void (*kernel)(Argument), const Grid& grid, unsigned threads,
                       cudaStream_t stream, const Argument& argument) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid.x, grid.y, grid.z);
  config.blockDim = dim3(threads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, argument);
}
#else
inline thread_local Grid current_block = {};

template <typename Argument>
cudaError_t run_kernel(void (*kernel)(Argument), const Grid& grid, unsigned, cudaStream_t,
                       const Argument& argument) {
  Grid& at = current_block;
  for (at.z = 0; at.z < grid.z; ++at.z)
    for (at.y = 0; at.y < grid.y; ++at.y)
      for (at.x = 0; at.x < grid.x; ++at.x) kernel(argument);
  return cudaSuccess;
}
#endif

}  // namespace edgepose

#ifdef __CUDA_ARCH__
#define EDGEPOSE_PRAGMA(text) _Pragma(#text)
#define EDGEPOSE_UNROLL(times) EDGEPOSE_PRAGMA(unroll times)
#else
#define EDGEPOSE_UNROLL(times)
#endif

namespace edgepose {

// One output, and two adjacent ones at an address aligned to both; float16 rounds to nearest even.
#ifdef __CUDACC__
using Half = __half;
__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(Half* to, float value) { *to = __float2half_rn(value); }
__device__ __forceinline__ void store_pair(float* to, float first, float second) {
  // Spelt out, since the compiler splits it in two where it sees a scalar twin.
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(first), "f"(second) : "memory");
}
__device__ __forceinline__ void store_pair(Half* to, float first, float second) {
  *reinterpret_cast<__half2*>(to) = __floats2half2_rn(first, second);
}
#else
struct Half {
  std::uint16_t bits;
};
inline void store(float* to, float value) { *to = value; }
inline void store(Half* to, float value) { to->bits = half_from_float(value); }
template <typename Out>
void store_pair(Out* to, float first, float second) {
  store(to, first);
  store(to + 1, second);
}
#endif

// A byte, or an aligned word, of memory that no one writes during the launch.
EDGEPOSE_HD std::uint8_t load_byte(const std::uint8_t* at) {
#ifdef __CUDA_ARCH__
  return __ldg(at);
#else
  return *at;
#endif
}

EDGEPOSE_HD std::uint32_t load_word(const std::uint8_t* at) {
#ifdef __CUDA_ARCH__
  return __ldg(reinterpret_cast<const unsigned*>(at));
#else
  std::uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
#endif
}

// The low word of high:low shifted right by 0 to 31 bits.
EDGEPOSE_HD std::uint32_t shift_right(std::uint32_t low, std::uint32_t high, unsigned bits) {
#ifdef __CUDA_ARCH__
  return __funnelshift_r(low, high, bits);
#else
  const std::uint64_t both = (static_cast<std::uint64_t>(high) << 32) | low;
  return static_cast<std::uint32_t>(both >> bits);
#endif
}

// sum + byte i of word
EDGEPOSE_HD std::uint32_t add_byte(std::uint32_t sum, std::uint32_t word, int i) {
#ifdef __CUDA_ARCH__
  return __dp4a(word, 1u << (8 * i), sum);
#else
  return sum + ((word >> (8 * i)) & 255u);
#endif
}

}  // namespace edgepose

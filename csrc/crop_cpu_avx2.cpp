// AVX2 with FMA and F16C.
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include "crop_area.h"

#define EDGEPOSE_AVX2 __attribute__((target("avx2,fma,f16c")))

namespace edgepose::cpu {
namespace {

bool present() {
  __builtin_cpu_init();
  unsigned a, b, c, d;  // not every compiler's __builtin_cpu_supports knows F16C
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

EDGEPOSE_AVX2 void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  std::ptrdiff_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
  }
  for (; i < n; ++i) out[i] = half_from_float(in[i]);
}

EDGEPOSE_AVX2 void area(const AreaCrop& crop, void* out) { crop_area<to_half>(crop, out); }

}  // namespace

const InstructionSet kAvx2 = {"avx2", present, area, 0, nullptr, nullptr};

}  // namespace edgepose::cpu
#endif

// The crop kernel on the CPU. Per output row: a vertical pass sums the source rows of its window
// into one float row (contiguous, so it vectorises over pixels and channels alike), then a
// horizontal pass sums the pixels of each window, then colour and the planar store. Nothing but
// that one row lives in between.
//
// One portable body is compiled for several instruction sets; the best one is picked at run time.
#include <cstring>
#include <string>
#include <vector>

#include "crop.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define EDGEPOSE_INLINE inline __attribute__((always_inline))

namespace edgepose {
namespace {

// Four floats: one pixel (B, G, R) and one float of its neighbour that nobody reads.
typedef float Pixel __attribute__((vector_size(16), aligned(4), may_alias));

struct Scratch {
  Axis x, y;
  std::vector<float> row;        // BGR, the vertical sums
  std::vector<float> resampled;  // BGR-, one per output
  std::vector<float> planes;     // R, G, B rows when the output needs one more conversion
};

// row[i] (+)= sum over k < kRows of weights[k] * source[k * stride + i]
template <bool kAdd, int kRows>
EDGEPOSE_INLINE void sum_rows(const std::uint8_t* source, std::ptrdiff_t stride,
                              const float* weights, std::ptrdiff_t n, float* __restrict row) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    float sum = kAdd ? row[i] : 0.0f;
    for (int k = 0; k < kRows; ++k) sum += weights[k] * static_cast<float>(source[k * stride + i]);
    row[i] = sum;
  }
}

constexpr std::int32_t kMaxRows = 6;

// The same for 1 to kMaxRows rows.
template <bool kAdd>
EDGEPOSE_INLINE void sum_some_rows(const std::uint8_t* source, std::ptrdiff_t stride,
                                   const float* weights, std::int32_t rows, std::ptrdiff_t n,
                                   float* row) {
  switch (rows) {
    case 1:
      return sum_rows<kAdd, 1>(source, stride, weights, n, row);
    case 2:
      return sum_rows<kAdd, 2>(source, stride, weights, n, row);
    case 3:
      return sum_rows<kAdd, 3>(source, stride, weights, n, row);
    case 4:
      return sum_rows<kAdd, 4>(source, stride, weights, n, row);
    case 5:
      return sum_rows<kAdd, 5>(source, stride, weights, n, row);
    default:
      return sum_rows<kAdd, 6>(source, stride, weights, n, row);
  }
}

EDGEPOSE_INLINE void vertical(const std::uint8_t* source, std::ptrdiff_t stride,
                              const float* weights, std::int32_t count, std::ptrdiff_t n,
                              float* row) {
  sum_some_rows<false>(source, stride, weights, std::min(count, kMaxRows), n, row);
  for (std::int32_t k = kMaxRows; k < count; k += kMaxRows)
    sum_some_rows<true>(source + k * stride, stride, weights + k, std::min(count - k, kMaxRows), n,
                        row);
}

EDGEPOSE_INLINE Pixel load(const float* p) { return *reinterpret_cast<const Pixel*>(p); }
EDGEPOSE_INLINE void store(float* p, Pixel v) { *reinterpret_cast<Pixel*>(p) = v; }

template <int kTaps>
EDGEPOSE_INLINE void horizontal_fixed(const float* row, const Axis& axis, std::ptrdiff_t size,
                                      float* __restrict out) {
  const Axis::Taps* taps = axis.taps.data();
  const float* weights = axis.lengths.data();
  for (std::ptrdiff_t j = 0; j < size; ++j, weights += kTaps) {
    const float* p = row + 3 * taps[j].start;
    Pixel sum = weights[0] * load(p);
    for (int k = 1; k < kTaps; ++k) sum += weights[k] * load(p + 3 * k);
    store(out + 4 * j, sum);
  }
}

EDGEPOSE_INLINE void horizontal(const float* row, const Axis& axis, std::ptrdiff_t size,
                                float* out) {
  switch (axis.fixed_taps) {
    case 1:
      return horizontal_fixed<1>(row, axis, size, out);
    case 2:
      return horizontal_fixed<2>(row, axis, size, out);
    case 3:
      return horizontal_fixed<3>(row, axis, size, out);
    case 4:
      return horizontal_fixed<4>(row, axis, size, out);
    case 5:
      return horizontal_fixed<5>(row, axis, size, out);
    case 6:
      return horizontal_fixed<6>(row, axis, size, out);
    default:
      break;
  }
  // Summed in blocks: the rounding of thousands of equal addends would otherwise add up.
  constexpr std::int32_t kBlock = 64;
  for (std::ptrdiff_t j = 0; j < size; ++j) {
    const Axis::Taps& t = axis.taps[static_cast<std::size_t>(j)];
    const float* p = row + 3 * t.start;
    const float* weights = axis.lengths.data() + t.offset;
    const std::int32_t count = axis.fixed_taps ? axis.fixed_taps : t.count;
    Pixel sum = {};
    for (std::int32_t begin = 0; begin < count; begin += kBlock) {
      const std::int32_t end = std::min(begin + kBlock, count);
      Pixel part = {};
      for (std::int32_t k = begin; k < end; ++k) part += weights[k] * load(p + 3 * k);
      sum += part;
    }
    store(out + 4 * j, sum);
  }
}

// One output row of the three channels: colour, and BGR to RGB planes.
EDGEPOSE_INLINE void finish(const float* resampled, const float* coverage, std::ptrdiff_t size,
                            const float* gain, const float* border, const float* padding,
                            float* __restrict r, float* __restrict g, float* __restrict b) {
  const float gain_r = gain[0], gain_g = gain[1], gain_b = gain[2];
  const float border_r = border[0], border_g = border[1], border_b = border[2];
  const float padding_r = padding[0], padding_g = padding[1], padding_b = padding[2];
  for (std::ptrdiff_t j = 0; j < size; ++j) {
    const float in = coverage[j];
    b[j] = resampled[4 * j] * gain_b + (padding_b - border_b * in);
    g[j] = resampled[4 * j + 1] * gain_g + (padding_g - border_g * in);
    r[j] = resampled[4 * j + 2] * gain_r + (padding_r - border_r * in);
  }
}

// IEEE float to half, round to nearest even.
inline std::uint16_t half_from_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (bits >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (bits < 0x38800000u) {
    // Subnormal: adding 0.5 puts the bits in place and lets the FPU round them.
    std::memcpy(&value, &bits, sizeof value);
    value += 0.5f;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::uint16_t>(sign | (bits - 0x3f000000u));
  }
  bits += 0xc8000fffu + ((bits >> 13) & 1u);  // rebias the exponent, round half to even
  return static_cast<std::uint16_t>(sign | (bits >> 13));
}

using ToHalf = void (*)(const float*, std::ptrdiff_t, std::uint16_t*);

void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
#if defined(__aarch64__)
    const __fp16 half = static_cast<__fp16>(in[i]);
    std::memcpy(out + i, &half, sizeof half);
#else
    out[i] = half_from_float(in[i]);
#endif
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2,f16c"))) void to_half_f16c(const float* in, std::ptrdiff_t n,
                                                       std::uint16_t* out) {
  std::ptrdiff_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
  }
  for (; i < n; ++i) out[i] = half_from_float(in[i]);
}
#endif

// One crop; the axes and buffers in `scratch` are ready.
template <ToHalf kToHalf>
EDGEPOSE_INLINE void crop_one(const Frame& frame, const CropSpec& spec, Scratch& scratch,
                              void* out) {
  const Axis& ax = scratch.x;
  const Axis& ay = scratch.y;
  const std::ptrdiff_t width = spec.width;
  const std::ptrdiff_t plane = spec.height * width;
  const double share = 1.0 / (ax.window * ay.window);
  float gain[3];
  for (int c = 0; c < 3; ++c) gain[c] = static_cast<float>(spec.colour.gain[c] * share);

  float* row = scratch.row.data();
  float* resampled = scratch.resampled.data();
  float* planes = scratch.planes.data();
  for (int i = 0; i < spec.height; ++i) {
    const Axis::Taps& t = ay.taps[static_cast<std::size_t>(i)];
    if (t.count > 0 && ax.pixels > 0) {
      const std::uint8_t* source =
          frame.data + (ay.first + t.start) * frame.row_stride + 3 * ax.first;
      vertical(source, frame.row_stride, ay.lengths.data() + t.offset, t.count, 3 * ax.pixels, row);
      horizontal(row, ax, width, resampled);
    } else {
      std::fill(resampled, resampled + 4 * width, 0.0f);
    }
    float border[3];
    const float in = ay.coverage[static_cast<std::size_t>(i)];
    for (int c = 0; c < 3; ++c) border[c] = spec.colour.gain[c] * spec.colour.border[c] * in;
    const std::ptrdiff_t at = i * width;
    if (spec.format == Format::kFloat32) {
      float* to = static_cast<float*>(out) + at;
      finish(resampled, ax.coverage.data(), width, gain, border, spec.colour.padding, to,
             to + plane, to + 2 * plane);
    } else {
      std::uint16_t* to = static_cast<std::uint16_t*>(out) + at;
      finish(resampled, ax.coverage.data(), width, gain, border, spec.colour.padding, planes,
             planes + width, planes + 2 * width);
      for (int c = 0; c < 3; ++c) kToHalf(planes + c * width, width, to + c * plane);
    }
  }
}

void run_portable(const Frame& frame, const CropSpec& spec, Scratch& scratch, void* out) {
  crop_one<to_half>(frame, spec, scratch, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma,f16c"))) void run_avx2(const Frame& frame, const CropSpec& spec,
                                                       Scratch& scratch, void* out) {
  crop_one<to_half_f16c>(frame, spec, scratch, out);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))) void run_avx512(
    const Frame& frame, const CropSpec& spec, Scratch& scratch, void* out) {
  crop_one<to_half_f16c>(frame, spec, scratch, out);
}
#endif

struct Path {
  const char* name;
  void (*run)(const Frame&, const CropSpec&, Scratch&, void*);
};

#if defined(__x86_64__)
bool has_f16c() {  // not every compiler's __builtin_cpu_supports knows it
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

std::vector<Path> find_paths() {
  std::vector<Path> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2 && avx512) found.push_back({"avx512", run_avx512});
  if (avx2) found.push_back({"avx2", run_avx2});
#endif
#if defined(__aarch64__)
  found.push_back({"neon", run_portable});
#else
  found.push_back({"generic", run_portable});
#endif
  return found;
}

const std::vector<Path>& paths() {
  static const std::vector<Path> found = find_paths();
  return found;
}

void fill_padding(const CropSpec& spec, void* out) {
  const std::size_t plane =
      static_cast<std::size_t>(spec.height) * static_cast<std::size_t>(spec.width);
  for (std::size_t c = 0; c < 3; ++c) {
    const float value = spec.colour.padding[c];
    if (spec.format == Format::kFloat32)
      std::fill_n(static_cast<float*>(out) + c * plane, plane, value);
    else
      std::fill_n(static_cast<std::uint16_t*>(out) + c * plane, plane, half_from_float(value));
  }
}

}  // namespace

void crop_cpu(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
              std::size_t count, const CropSpec& spec, void* out, std::size_t isa) {
  const auto run = paths()[isa].run;
  const std::size_t width = static_cast<std::size_t>(spec.width);
  const std::size_t bytes =
      3 * static_cast<std::size_t>(spec.height) * width *
      (spec.format == Format::kFloat32 ? sizeof(float) : sizeof(std::uint16_t));
  Scratch scratch;
  scratch.resampled.resize(4 * width);
  if (spec.format == Format::kFloat16) scratch.planes.resize(3 * width);
  for (std::size_t i = 0; i < count; ++i) {
    void* to = static_cast<char*>(out) + i * bytes;
    const Box& box = boxes[i];
    if (!is_croppable(box)) {
      fill_padding(spec, to);
      continue;
    }
    const Frame& frame = frames[frame_index[i]];
    scratch.x.build(box.x0, box.x1, spec.width, frame.width, spec.antialias);
    scratch.y.build(box.y0, box.y1, spec.height, frame.height, spec.antialias);
    // Zero-weight taps and the fourth lane read past the last pixel: finite zeros, never garbage.
    const std::size_t used = 3 * static_cast<std::size_t>(scratch.x.pixels);
    const std::size_t spare = 3 * Axis::kMaxFixedTaps + 1;
    if (scratch.row.size() < used + spare) scratch.row.resize(used + spare);
    std::fill_n(scratch.row.data() + used, spare, 0.0f);
    run(frame, spec, scratch, to);
  }
}

double estimate_cpu_ns(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
                       std::size_t count, const CropSpec& spec) {
  constexpr double kPerOutput = 2.0;
  constexpr double kPerSourcePixel = 0.3;
  double ns = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    ns += kPerOutput * spec.height * spec.width;
    const Box& box = boxes[i];
    if (!is_croppable(box)) continue;
    const Frame& frame = frames[frame_index[i]];
    const double w =
        std::min<double>(box.x1, static_cast<double>(frame.width)) - std::max(box.x0, 0.0f);
    const double h =
        std::min<double>(box.y1, static_cast<double>(frame.height)) - std::max(box.y0, 0.0f);
    ns += kPerSourcePixel * std::max(w, 0.0) * std::max(h, 0.0);
  }
  return ns;
}

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const Path& path : paths()) names.emplace_back(path.name);
  return names;
}

}  // namespace edgepose

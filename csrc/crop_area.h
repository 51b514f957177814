// The area way of the CPU kernel (crop_cpu.h). Per output row: a vertical pass sums the source rows
// of its window into one float row (contiguous, so it vectorises over pixels and channels alike),
// then a horizontal pass sums the pixels of each window, then colour and the planar store.
#pragma once

#include <algorithm>

#include "crop_cpu.h"

namespace edgepose::cpu {

// Four floats: one pixel (B, G, R) and one float of its neighbour that nobody reads.
typedef float Pixel __attribute__((vector_size(16), aligned(4), may_alias));

// row[i] = sum over k < kRows of weights[k] * source[k * stride + i]
template <int kRows>
EDGEPOSE_INLINE void sum_rows(const std::uint8_t* source, std::ptrdiff_t stride,
                              const float* weights, std::ptrdiff_t n, float* __restrict row) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    float sum = 0.0f;
    for (int k = 0; k < kRows; ++k) sum += weights[k] * static_cast<float>(source[k * stride + i]);
    row[i] = sum;
  }
}

// counts[i] (+)= sum over k < kRows of source[k * stride + i]
template <bool kAdd, int kRows>
EDGEPOSE_INLINE void count_rows(const std::uint8_t* source, std::ptrdiff_t stride, std::ptrdiff_t n,
                                std::uint16_t* __restrict counts) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    std::uint16_t sum = kAdd ? counts[i] : std::uint16_t{0};
    for (int k = 0; k < kRows; ++k) sum = static_cast<std::uint16_t>(sum + source[k * stride + i]);
    counts[i] = sum;
  }
}

constexpr std::int32_t kMaxRows = 4;  // of one pass

// The same for 1 to kMaxRows rows.
template <bool kAdd>
EDGEPOSE_INLINE void count_some_rows(const std::uint8_t* source, std::ptrdiff_t stride,
                                     std::int32_t rows, std::ptrdiff_t n, std::uint16_t* counts) {
  switch (rows) {
    case 1:
      return count_rows<kAdd, 1>(source, stride, n, counts);
    case 2:
      return count_rows<kAdd, 2>(source, stride, n, counts);
    case 3:
      return count_rows<kAdd, 3>(source, stride, n, counts);
    default:
      return count_rows<kAdd, 4>(source, stride, n, counts);
  }
}

// Rows between the first and the last weigh exactly 1: they are summed as integers, four times as
// many in a register as there are floats.
EDGEPOSE_INLINE void vertical(const std::uint8_t* source, std::ptrdiff_t stride,
                              const float* weights, std::int32_t count, std::ptrdiff_t n,
                              std::uint16_t* counts, float* __restrict row) {
  constexpr std::int32_t kMostCounted = 256;  // what 16 bits hold
  if (count == 1) return sum_rows<1>(source, stride, weights, n, row);
  if (count == 2) return sum_rows<2>(source, stride, weights, n, row);
  const std::uint8_t* const last = source + (count - 1) * stride;
  const float head = weights[0];
  const float tail = weights[count - 1];
  for (std::ptrdiff_t i = 0; i < n; ++i)
    row[i] = head * static_cast<float>(source[i]) + tail * static_cast<float>(last[i]);
  for (std::int32_t begin = 1; begin < count - 1; begin += kMostCounted) {
    const std::int32_t end = std::min(begin + kMostCounted, count - 1);
    count_some_rows<false>(source + begin * stride, stride, std::min(kMaxRows, end - begin), n,
                           counts);
    for (std::int32_t k = begin + kMaxRows; k < end; k += kMaxRows)
      count_some_rows<true>(source + k * stride, stride, std::min(kMaxRows, end - k), n, counts);
    for (std::ptrdiff_t i = 0; i < n; ++i) row[i] += static_cast<float>(counts[i]);
  }
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

// Done, if the axis has a fixed number of taps.
template <int kTaps>
EDGEPOSE_INLINE bool horizontal_unrolled(const float* row, const Axis& axis, std::ptrdiff_t size,
                                         float* out) {
  if constexpr (kTaps <= Axis::kMaxFixedTaps) {
    if (axis.fixed_taps != kTaps) return horizontal_unrolled<kTaps + 1>(row, axis, size, out);
    horizontal_fixed<kTaps>(row, axis, size, out);
    return true;
  }
  return false;
}

EDGEPOSE_INLINE void horizontal(const float* row, const Axis& axis, std::ptrdiff_t size,
                                float* out) {
  if (horizontal_unrolled<1>(row, axis, size, out)) return;
  // Summed in blocks: the rounding of thousands of equal addends would otherwise add up.
  constexpr std::int32_t kBlock = 64;
  for (std::ptrdiff_t j = 0; j < size; ++j) {
    const Axis::Taps& t = axis.taps[static_cast<std::size_t>(j)];
    const float* p = row + 3 * t.start;
    const float* weights = axis.lengths.data() + t.offset;
    Pixel sum = {};
    for (std::int32_t begin = 0; begin < t.count; begin += kBlock) {
      const std::int32_t end = std::min(begin + kBlock, t.count);
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

using ToHalf = void (*)(const float*, std::ptrdiff_t, std::uint16_t*);

template <ToHalf kToHalf>
EDGEPOSE_INLINE void crop_area(const AreaCrop& crop, void* out) {
  const Frame& frame = *crop.frame;
  const CropSpec& spec = *crop.spec;
  const Axis& ax = *crop.x;
  const Axis& ay = *crop.y;
  const std::ptrdiff_t width = spec.width;
  const std::ptrdiff_t plane = spec.height * width;
  const double share = 1.0 / (ax.window * ay.window);
  float gain[3];
  for (int c = 0; c < 3; ++c) gain[c] = static_cast<float>(spec.colour.gain[c] * share);

  float* row = crop.row;
  float* resampled = crop.resampled;
  float* planes = crop.planes;
  for (int i = 0; i < spec.height; ++i) {
    const Axis::Taps& t = ay.taps[static_cast<std::size_t>(i)];
    if (t.count > 0 && ax.pixels > 0) {
      const std::uint8_t* source =
          frame.data + (ay.first + t.start) * frame.row_stride + 3 * ax.first;
      vertical(source, frame.row_stride, ay.lengths.data() + t.offset, t.count, 3 * ax.pixels,
               crop.counts, row);
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

}  // namespace edgepose::cpu

// How the contract's weights of one axis are laid out for the CPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgepose {

// Weights of one axis, as overlap lengths in pixels: weight = length / window. Lengths inside
// a window are exactly 1, so long sums of pixels stay exact; the division comes once at the end.
struct Axis {
  struct Taps {
    std::int32_t start;   // first pixel, relative to `first`
    std::int32_t count;   // pixels read; 0 where the window misses the frame
    std::int32_t offset;  // of the first length in `lengths`
  };

  static constexpr int kMaxFixedTaps = 18;

  std::int32_t first = 0;       // first frame pixel that any output reads
  std::int32_t pixels = 0;      // how many pixels from there on
  std::int32_t fixed_taps = 0;  // lengths per output, zero-padded; 0: exactly `count` per output
  double window = 1.0;          // r
  std::vector<Taps> taps;
  std::vector<float> lengths;
  std::vector<float> coverage;  // share of each window that lies inside the frame

  void build(float lo, float hi, int size, std::int64_t extent, bool antialias);
};

inline void Axis::build(float lo, float hi, int size, std::int64_t extent, bool antialias) {
  const double scale = (static_cast<double>(hi) - static_cast<double>(lo)) / size;
  const double end = static_cast<double>(extent);
  window = antialias ? std::max(1.0, scale) : 1.0;
  const double share = 1.0 / window;
  const auto from = [&](int j) {
    return std::clamp(lo + (j + 0.5) * scale - 0.5 * window, 0.0, end);
  };
  const auto to = [&](int j) {
    return std::clamp(lo + (j + 0.5) * scale + 0.5 * window, 0.0, end);
  };

  taps.resize(static_cast<std::size_t>(size));
  coverage.resize(static_cast<std::size_t>(size));
  std::int32_t most = 0;
  std::int32_t total = 0;
  std::int32_t last = 0;
  first = 0;
  for (int j = 0; j < size; ++j) {
    const double a = from(j);
    const double b = to(j);
    Taps& t = taps[static_cast<std::size_t>(j)];
    t = {0, 0, total};
    coverage[static_cast<std::size_t>(j)] = static_cast<float>((b - a) * share);
    if (!(a < b)) continue;
    t.start = static_cast<std::int32_t>(a);
    const std::int32_t whole = static_cast<std::int32_t>(b);
    t.count = (whole < b ? whole + 1 : whole) - t.start;
    if (total == 0) first = t.start;
    last = t.start + t.count;
    most = std::max(most, t.count);
    total += t.count;
  }
  pixels = last - first;
  fixed_taps = most <= kMaxFixedTaps ? most : 0;

  lengths.assign(static_cast<std::size_t>(fixed_taps ? size * fixed_taps : total), 0.0f);
  for (int j = 0; j < size; ++j) {
    Taps& t = taps[static_cast<std::size_t>(j)];
    if (fixed_taps) t.offset = j * fixed_taps;
    if (t.count == 0) continue;
    const double a = from(j);
    const double b = to(j);
    float* out = lengths.data() + t.offset;
    for (std::int32_t k = 0; k < t.count; ++k) {
      const double pixel = static_cast<double>(t.start + k);
      out[k] = static_cast<float>(std::min(b, pixel + 1.0) - std::max(a, pixel));
    }
    t.start -= first;
  }
}

}  // namespace edgepose

// How the strips of a crop (crop_cpu.h) are planned: which source rows an output row takes, with
// which weights, and how much of each window lies inside the frame.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "crop_cpu.h"

namespace edgepose::cpu {

constexpr std::int64_t kPixel = std::int64_t{1} << kPositionBits;

// The frame's rows from the pixel at which the first window begins. Where resampling would read
// bytes that the frame does not have, rows are copied between zeros first.
class SourceRows {
 public:
  SourceRows(const Frame& frame, std::int64_t first, std::ptrdiff_t reach)
      : data_(frame.data), stride_(frame.row_stride), reach_(reach) {
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, frame.width);
    const std::int64_t to = std::clamp<std::int64_t>(first + reach / 3, from, frame.width);
    staged_ = first < 0 || 3 * first + reach > 3 * frame.width;
    data_ += 3 * from;
    inside_ = static_cast<std::size_t>(3 * (to - from));
    margin_ = 3 * (from - first);
  }

  // How many rows may be asked for between two begin_tile(), at least `rows`.
  std::ptrdiff_t reserve(std::ptrdiff_t rows, std::ptrdiff_t wanted,
                         std::vector<std::uint8_t>& buffer) {
    if (!staged_) return wanted;
    constexpr std::ptrdiff_t kBytes = 1 << 20;
    rows = std::clamp(kBytes / reach_, rows, wanted);
    buffer.assign(static_cast<std::size_t>(rows * reach_), 0);
    buffer_ = buffer.data();
    return rows;
  }

  void begin_tile() {
    newest_ = -1;
    count_ = 0;
  }

  // y is the newest row of this tile, the one before it, or beyond them.
  const std::uint8_t* operator[](std::int64_t y) {
    const std::uint8_t* row = data_ + y * stride_;
    if (!staged_) return row;
    if (y > newest_) {
      if (inside_) std::memcpy(buffer_ + count_ * reach_ + margin_, row, inside_);
      newest_ = y;
      ++count_;
    }
    return buffer_ + (count_ - 1 - (newest_ - y)) * reach_;
  }

 private:
  const std::uint8_t* data_;
  std::ptrdiff_t stride_;
  std::ptrdiff_t reach_;
  bool staged_;
  std::size_t inside_;
  std::ptrdiff_t margin_;
  std::uint8_t* buffer_ = nullptr;
  std::int64_t newest_ = -1;
  std::ptrdiff_t count_ = 0;  // rows in the buffer
};

// Share of each window that lies inside [0, extent) when pixel `first` is the windows' first.
class Coverage {
 public:
  Coverage(const Windows& windows, std::int64_t first, std::int64_t extent)
      : windows_(windows), first_(first * kOne), end_(extent * kOne) {}

  bool complete() const { return at(0) >= 0 && at(windows_.size - 1) + windows_.length <= end_; }

  void write(float* out) const {
    for (std::ptrdiff_t j = 0; j < windows_.size; ++j) {
      const std::int64_t inside = std::clamp<std::int64_t>(at(j) + windows_.length, 0, end_) -
                                  std::clamp<std::int64_t>(at(j), 0, end_);
      out[j] = static_cast<float>(inside) / static_cast<float>(windows_.length);
    }
  }

 private:
  std::int64_t at(std::int64_t j) const {
    const std::int64_t half = std::int64_t{1} << (cpu::kPositionToTable - 1);
    return first_ + ((windows_.edge + j * windows_.step + half) >> cpu::kPositionToTable);
  }

  const Windows& windows_;
  std::int64_t first_, end_;
};

// Four floats of a Tap or an OutputRow.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

inline void store(float* out, Four value) { *reinterpret_cast<Four*>(out) = value; }

// The windows along y, and the colour.
struct Height {
  std::int64_t top, step;  // in 2^-kPositionBits pixels
  float length;            // of a window, in pixels
  std::int64_t extent;     // of the frame
  Four gain;               // per 1 / kOne level and pixel of a window
  Four border, padding;    // gain * border, and that normalised

  std::int64_t position(std::ptrdiff_t row) const { return top + row * step; }
  static float fraction(std::int64_t position) {
    constexpr int kShift = kPositionBits - 24;
    return static_cast<float>((position >> kShift) & 0xffffff) * (1.0f / (1 << 24));
  }
  bool inside(std::ptrdiff_t rows) const {
    const std::int64_t last = position(rows - 1) >> kPositionBits;
    return top >= 0 && static_cast<float>(extent - last) >= length + 1.0f;
  }
};

// Rows of which every window is one pixel long and lies in the frame.
inline void plan_pairs(const Height& height, std::ptrdiff_t begin, std::ptrdiff_t count,
                       SourceRows& source, OutputRow* row, Tap* tap) {
  store(row->offset, height.padding - height.border);
  for (std::ptrdiff_t i = begin; i < begin + count; ++i, tap += 2) {
    const std::int64_t position = height.position(i);
    const float fraction = Height::fraction(position);
    const std::int64_t y = position >> kPositionBits;
    tap[0].row = source[y];
    tap[1].row = source[y + 1];
    store(tap[0].weight, height.gain * (1.0f - fraction));
    store(tap[1].weight, height.gain * fraction);
  }
}

inline void plan_rows(const Height& height, std::ptrdiff_t begin, std::ptrdiff_t count,
                      SourceRows& source, bool inside, OutputRow* row, Tap* tap) {
  // Shorter taps are rounding.
  constexpr float kSliver = 1e-6f;
  for (std::ptrdiff_t i = begin; i < begin + count; ++i, ++row) {
    const std::int64_t position = height.position(i);
    std::int64_t y = position >> kPositionBits;
    float from = Height::fraction(position);
    float to = from + height.length;  // both from y on
    float covered = 0.0f;
    const Tap* const first = tap;
    for (; to > kSliver; ++y, from = 0.0f, to -= 1.0f) {
      if (y < 0 || y >= height.extent) continue;
      const float weight = std::min(to, 1.0f) - from;
      tap->row = source[y];
      store(tap->weight, height.gain * weight);
      covered += weight;
      ++tap;
    }
    row->taps = static_cast<int>(tap - first);
    const Four border = height.border * std::min(covered / height.length, 1.0f);
    store(row->offset, inside ? height.padding - border : height.padding);
    store(row->slope, border);
  }
}

}  // namespace edgepose::cpu

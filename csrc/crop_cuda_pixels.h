// What one thread of the CUDA crop kernel does with pixels. A plane is an image of kChannels
// interleaved bytes per pixel: BGR is one plane of 3, NV12 a plane of 1 and a plane of 2.
#pragma once

#include <cstdint>

#include "crop.h"
#include "crop_cuda_launch.h"

namespace edgepose {

struct Plane {
  const std::uint8_t* data;
  std::int64_t row_stride;
  std::int32_t height, width;
};

// is_croppable() for the device.
EDGEPOSE_HD bool croppable(float x0, float y0, float x1, float y1) {
  return x0 >= -kMaxEdge && y0 >= -kMaxEdge && x1 <= kMaxEdge && y1 <= kMaxEdge && x0 < x1 &&
         y0 < y1;
}

// The window of one output along one axis, cut to the plane, as overlap lengths in pixels: the
// first pixel weighs `head`, the last one `tail`, those between exactly 1. Division by the
// window's length comes once, at the end.
struct alignas(16) Window {
  std::int32_t first;  // also where the plane begins or ends for a window outside it
  std::int32_t count;  // 0 outside the plane
  float head;
  float tail;  // 0 with fewer than two pixels
};

EDGEPOSE_HD float window_length(float lo, float hi, float inverse_size, bool antialias) {
  const float step = (hi - lo) * inverse_size;
  return antialias && step > 1.0f ? step : 1.0f;
}

// Positions are in double: a float has no room for a fraction of a pixel in a far-away box.
EDGEPOSE_HD Window make_window(float lo, float hi, double inverse_size, bool antialias, int j,
                               std::int32_t extent) {
  const double step = (static_cast<double>(hi) - static_cast<double>(lo)) * inverse_size;
  const double radius = antialias && step > 1.0 ? 0.5 * step : 0.5;
  const double centre = static_cast<double>(lo) + (j + 0.5) * step;
  const double limit = extent;
  double begin = centre - radius;
  double end = centre + radius;
  begin = begin > 0.0 ? begin : 0.0;
  begin = begin < limit ? begin : limit;
  end = end < limit ? end : limit;
  Window window = {static_cast<std::int32_t>(begin), 0, 0.0f, 0.0f};
  if (!(begin < end)) return window;
  const std::int32_t whole = static_cast<std::int32_t>(end);
  const std::int32_t stop = whole < end ? whole + 1 : whole;
  window.count = stop - window.first;
  if (window.count == 1) {
    window.head = static_cast<float>(end - begin);
  } else {
    window.head = static_cast<float>(window.first + 1 - begin);
    window.tail = static_cast<float>(end - (stop - 1));
  }
  return window;
}

EDGEPOSE_HD float weight(const Window& window, int k) {
  return k == 0 ? window.head : k == window.count - 1 ? window.tail : 1.0f;
}

// The part of the window that lies inside the plane.
EDGEPOSE_HD float covered(const Window& window) {
  const float between = static_cast<float>(window.count > 2 ? window.count - 2 : 0);
  return window.head + between + window.tail;
}

// One output column of a plane, for windows of up to kTaps pixels: their bytes come in a few
// aligned words, whatever the row's alignment.
constexpr int kTaps = 3;

template <int kChannels>
struct Column {
  static constexpr int kWords = (3 + kChannels * kTaps + 3) / 4;  // from any of 4 alignments

  Window window;
  float weights[kTaps];
  bool in_words;  // the words that hold the window lie inside the row

  EDGEPOSE_HD void set(const Window& x, std::int32_t plane_width) {
    window = x;
    for (int k = 0; k < kTaps; ++k) weights[k] = k < x.count ? weight(x, k) : 0.0f;
    // An aligned word begins up to 3 bytes before the window's first byte.
    const std::int64_t begin = static_cast<std::int64_t>(kChannels) * x.first;
    const std::int64_t end = static_cast<std::int64_t>(kChannels) * plane_width;
    in_words = x.count > 0 && x.count <= kTaps && begin >= 3 && begin + 4 * kWords <= end;
  }

  // The weighted sum of the window's pixels in a row.
  EDGEPOSE_HD void sum(const std::uint8_t* row, float (&out)[kChannels]) const {
    for (int c = 0; c < kChannels; ++c) out[c] = 0.0f;
    const std::uint8_t* at = row + static_cast<std::int64_t>(kChannels) * window.first;
    if (in_words) {
      const unsigned offset = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(at) & 3u);
      at -= offset;
      std::uint32_t words[kWords + 1];
      for (int i = 0; i < kWords; ++i) words[i] = load_word(at + 4 * i);
      words[kWords] = 0;  // kWords reach to the last byte that counts
      for (int i = 0; i < kWords; ++i) words[i] = shift_right(words[i], words[i + 1], 8 * offset);
      for (int k = 0; k < kTaps; ++k) {
        for (int c = 0; c < kChannels; ++c) {
          const int byte = k * kChannels + c;
          const std::uint32_t value = (words[byte / 4] >> (8 * (byte % 4))) & 255u;
          out[c] += weights[k] * static_cast<float>(value);
        }
      }
    } else {
      for (int k = 0; k < window.count; ++k) {
        const float w = weight(window, k);
        for (int c = 0; c < kChannels; ++c)
          out[c] += w * static_cast<float>(load_byte(at + kChannels * k + c));
      }
    }
  }
};

// Walks down a plane over kColumns adjacent output columns and keeps the two newest rows of sums,
// since the windows of neighbouring output rows overlap.
template <int kChannels, int kColumns>
struct Walker {
  Plane plane;
  Column<kChannels> columns[kColumns];
  float newest[kColumns][kChannels] = {};
  float older[kColumns][kChannels] = {};
  std::int32_t newest_row = -1;
  std::int32_t older_row = -1;

  EDGEPOSE_HD void step(std::int32_t row) {
    for (int i = 0; i < kColumns; ++i)
      for (int c = 0; c < kChannels; ++c) older[i][c] = newest[i][c];
    older_row = newest_row;
    newest_row = row;
    for (int i = 0; i < kColumns; ++i)
      columns[i].sum(plane.data + row * plane.row_stride, newest[i]);
  }

  // The weighted sums over the window's rows.
  EDGEPOSE_HD void sum(const Window& y, float (&out)[kColumns][kChannels]) {
    for (int i = 0; i < kColumns; ++i)
      for (int c = 0; c < kChannels; ++c) out[i][c] = 0.0f;
    for (int k = 0; k < y.count; ++k) {
      const std::int32_t row = y.first + k;
      const float w = weight(y, k);
      const bool again = row == older_row;
      if (!again && row != newest_row) step(row);
      for (int i = 0; i < kColumns; ++i)
        for (int c = 0; c < kChannels; ++c) out[i][c] += w * (again ? older[i][c] : newest[i][c]);
    }
  }
};

// Four adjacent bytes of a row, from byte `at` on; what lies beyond `end` reads as 0.
EDGEPOSE_HD std::uint32_t load_four(const std::uint8_t* row, std::int64_t at, std::int64_t end) {
  const std::uint8_t* from = row + at;
  if (at + 4 <= end && (reinterpret_cast<std::uintptr_t>(from) & 3u) == 0) return load_word(from);
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i)
    if (at + i < end) word |= static_cast<std::uint32_t>(load_byte(from + i)) << (8 * i);
  return word;
}

// The weighted sums of four adjacent bytes over the window's rows. Rows of weight 1 are summed as
// integers, so that thousands of them stay exact.
template <int kChannels>
EDGEPOSE_HD void sum_down(const Plane& plane, const Window& y, std::int64_t at, float (&out)[4]) {
  const std::int64_t end = static_cast<std::int64_t>(kChannels) * plane.width;
  const std::uint8_t* row = plane.data + y.first * plane.row_stride;
  std::uint32_t sums[4] = {0, 0, 0, 0};
  EDGEPOSE_UNROLL_4
  for (int k = 1; k < y.count - 1; ++k) {
    const std::uint32_t word = load_four(row + k * plane.row_stride, at, end);
    for (int i = 0; i < 4; ++i) sums[i] += (word >> (8 * i)) & 255u;
  }
  const std::uint32_t first = y.count > 0 ? load_four(row, at, end) : 0;
  const std::uint32_t last =
      y.count > 1 ? load_four(row + (y.count - 1) * plane.row_stride, at, end) : 0;
  for (int i = 0; i < 4; ++i) {
    out[i] = static_cast<float>(sums[i]) + y.head * static_cast<float>((first >> (8 * i)) & 255u) +
             y.tail * static_cast<float>((last >> (8 * i)) & 255u);
  }
}

}  // namespace edgepose

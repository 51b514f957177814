// What one thread of the CUDA crop kernel does with pixels. A plane is an image of kChannels
// interleaved bytes per pixel: BGR is one plane of 3, NV12 a plane of 1 and a plane of 2.
#pragma once

#include <cstdint>

#include "crop.h"
#include "crop_window.h"
#include "cuda_launch.h"

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

// One output column of a plane, for windows of up to kTaps pixels: their bytes come in a few
// aligned words, whatever the row's alignment.
constexpr int kTaps = 3;

template <int kChannels>
struct Column {
  static constexpr int kWords = (3 + kChannels * kTaps + 3) / 4;  // from any of 4 alignments

  const std::uint8_t* first;  // the window's first byte in row 0
  Window window;
  float second, third;  // weights; the first pixel's is window.head

  // Returns how many pixels have to be read, 2 or 3, or 0 where words would leave the row.
  EDGEPOSE_HD int set(const Plane& plane, const Window& x) {
    window = x;
    second = x.count > 1 ? weight(x, 1) : 0.0f;
    third = x.count > 2 ? weight(x, 2) : 0.0f;
    const std::int64_t begin = static_cast<std::int64_t>(kChannels) * x.first;
    const std::int64_t end = static_cast<std::int64_t>(kChannels) * plane.width;
    first = plane.data + begin;
    // An aligned word begins up to 3 bytes before the window's first byte.
    const bool inside = x.count > 0 && begin >= 3 && begin + 4 * kWords <= end;
    return !inside || x.count > kTaps ? 0 : x.count > 2 ? 3 : 2;
  }

  // The words that hold the window in the row `down` bytes below row 0, and where it begins there.
  EDGEPOSE_HD void load(std::int64_t down, std::uint32_t (&words)[kWords], unsigned& past) const {
    const std::uint8_t* at = first + down;
    past = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(at) & 3u);
    for (int i = 0; i < kWords; ++i) words[i] = load_word(at - past + 4 * i);
  }

  // The weighted sum of the window's pixels, from those words.
  EDGEPOSE_HD void sum(std::uint32_t (&words)[kWords], unsigned past, bool three,
                       float (&out)[kChannels]) const {
    for (int i = 0; i < kWords; ++i)  // the words reach to the last byte that counts
      words[i] = shift_right(words[i], i + 1 < kWords ? words[i + 1] : 0, 8 * past);
    for (int c = 0; c < kChannels; ++c)
      out[c] = window.head * value(words, c) + second * value(words, kChannels + c);
    if (three)
      for (int c = 0; c < kChannels; ++c) out[c] += third * value(words, 2 * kChannels + c);
  }

  // The same from single bytes.
  EDGEPOSE_HD void sum(std::int64_t down, float (&out)[kChannels]) const {
    const std::uint8_t* at = first + down;
    for (int c = 0; c < kChannels; ++c) out[c] = 0.0f;
    EDGEPOSE_UNROLL(1)
    for (int k = 0; k < window.count; ++k) {
      const float w = weight(window, k);
      for (int c = 0; c < kChannels; ++c)
        out[c] += w * static_cast<float>(load_byte(at + kChannels * k + c));
    }
  }

  EDGEPOSE_HD static float value(const std::uint32_t* words, int byte) {
    return static_cast<float>((words[byte / 4] >> (8 * (byte % 4))) & 255u);
  }
};

// Walks down a plane over kColumns adjacent output columns. The windows of neighbouring output
// rows overlap, so the sums of the two newest source rows are kept.
template <int kChannels, int kColumns>
struct Walker {
  using Sums = float[kColumns][kChannels];

  Column<kChannels> columns[kColumns];
  int taps;  // the most that Column::set wants, or 0
  std::int64_t row_stride;
  Sums upper, lower;
  std::int32_t upper_row = -1;
  std::int32_t lower_row = -1;

  EDGEPOSE_HD void start(const Plane& plane, const Window* windows) {
    row_stride = plane.row_stride;
    taps = 2;
    for (int i = 0; i < kColumns; ++i) {
      const int needed = columns[i].set(plane, windows[i]);
      taps = taps == 0 || needed == 0 ? 0 : taps > needed ? taps : needed;
    }
  }

  // The weighted sums over the window's rows; `y.first` is a row of the plane even with no pixel.
  EDGEPOSE_HD void sum(const Window& y, Sums& out) {
    if (upper_row != y.first) {
      if (lower_row == y.first)
        move(lower, upper);
      else
        load(y.first, upper);
      upper_row = y.first;
    }
    for (int i = 0; i < kColumns; ++i)
      for (int c = 0; c < kChannels; ++c) out[i][c] = y.head * upper[i][c];
    if (y.count < 2) return;
    if (lower_row != y.first + 1) {
      lower_row = y.first + 1;
      load(lower_row, lower);
    }
    add(y.count == 2 ? y.tail : 1.0f, out);
    EDGEPOSE_UNROLL(1)
    for (int k = 2; k < y.count; ++k) {
      move(lower, upper);
      upper_row = lower_row;
      lower_row = y.first + k;
      load(lower_row, lower);
      add(k == y.count - 1 ? y.tail : 1.0f, out);
    }
  }

  EDGEPOSE_HD void load(std::int32_t row, Sums& to) const {
    const std::int64_t down = row * row_stride;
    if (taps == 0) {
      for (int i = 0; i < kColumns; ++i) columns[i].sum(down, to[i]);
      return;
    }
    std::uint32_t words[kColumns][Column<kChannels>::kWords];
    unsigned past[kColumns];
    for (int i = 0; i < kColumns; ++i) columns[i].load(down, words[i], past[i]);
    for (int i = 0; i < kColumns; ++i) columns[i].sum(words[i], past[i], taps == 3, to[i]);
  }

  EDGEPOSE_HD void add(float w, Sums& out) const {
    for (int i = 0; i < kColumns; ++i)
      for (int c = 0; c < kChannels; ++c) out[i][c] += w * lower[i][c];
  }

  EDGEPOSE_HD static void move(const Sums& from, Sums& to) {
    for (int i = 0; i < kColumns; ++i)
      for (int c = 0; c < kChannels; ++c) to[i][c] = from[i][c];
  }
};

// `count` adjacent bytes, up to four, as a word; the rest is 0.
EDGEPOSE_HD std::uint32_t load_bytes(const std::uint8_t* at, int count) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i)
    if (i < count) word |= static_cast<std::uint32_t>(load_byte(at + i)) << (8 * i);
  return word;
}

// Four adjacent bytes of any alignment out of the two aligned words that hold them.
EDGEPOSE_HD std::uint32_t load_across(const std::uint8_t* at) {
  const unsigned past = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(at) & 3u);
  const std::uint8_t* word = at - past;
  return shift_right(load_word(word), past == 0 ? 0 : load_word(word + 4), 8 * past);
}

// The weighted sums of four adjacent bytes over the window's rows, from byte `at` of a row on,
// which is a multiple of 4; beyond the row lie zeros. Rows of weight 1 are summed as integers, so
// that thousands of them stay exact.
template <int kChannels>
EDGEPOSE_HD void sum_down(const Plane& plane, const Window& y, std::int64_t at, float (&out)[4]) {
  const std::int64_t left = static_cast<std::int64_t>(kChannels) * plane.width - at;
  const int bytes = left < 4 ? static_cast<int>(left) : 4;
  const std::uint8_t* from = plane.data + y.first * plane.row_stride + at;
  // The words must lie inside the row. Rows whose distance is no multiple of 4 differ in alignment.
  const bool inside = at >= 4 && left >= 8;
  const auto load = [&](std::int32_t k) {
    const std::uint8_t* row = from + k * plane.row_stride;
    return inside ? load_across(row) : load_bytes(row, bytes);
  };

  std::uint32_t sums[4] = {0, 0, 0, 0};
  EDGEPOSE_UNROLL(8)
  for (std::int32_t k = 1; k < y.count - 1; ++k) {
    const std::uint32_t word = load(k);
    for (int i = 0; i < 4; ++i) sums[i] = add_byte(sums[i], word, i);
  }
  const std::uint32_t first = y.count > 0 ? load(0) : 0;
  const std::uint32_t last = y.count > 1 ? load(y.count - 1) : 0;
  for (int i = 0; i < 4; ++i)
    out[i] = static_cast<float>(sums[i]) + y.head * static_cast<float>(add_byte(0, first, i)) +
             y.tail * static_cast<float>(add_byte(0, last, i));
}

}  // namespace edgepose

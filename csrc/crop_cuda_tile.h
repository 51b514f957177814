// What a block of the CUDA crop kernel does with its tile; crop_cuda.cu says how it goes about it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crop_cuda.h"
#include "crop_cuda_pixels.h"
#include "cuda_launch.h"

namespace edgepose {

constexpr int kThreads = 128;
constexpr int kTile = 32;  // columns
constexpr int kColumns = 2;
constexpr int kGroups = kTile / kColumns;
constexpr int kStrips = kThreads / kGroups;
constexpr int kMaxRows = 16;         // of a strip
constexpr int kResident[] = {6, 5};  // blocks of a multiprocessor: BGR, NV12
constexpr int kWarps = kThreads / kTile;
constexpr float kNarrow = 2.0f;
// Bytes of the wide path's strip; whole pixels of 1, 2 and 3 bytes in whole words.
constexpr int kChunk = 504;
static_assert(kColumns == 2, "outputs are stored in pairs");
static_assert(kChunk % 12 == 0 && kStrips % kWarps == 0, "nothing is left over");

struct Launch {
  DeviceFrame frames[kMaxHostFrames];  // used where `table` is null
  const DeviceFrame* table;
  const float* boxes;
  const std::int64_t* frame_index;
  void* out;
  Inverse inverse_width, inverse_height;
  std::int32_t frame_count;
  std::int32_t width, height;
  std::int32_t rows;  // of a strip
  bool antialias;
  bool paired;  // two adjacent outputs may be stored at once
  // Out of what is left of a plane's channels after the border's colour is taken off, in RGB.
  float matrix[3][3];
  float border[3];  // per channel of the source
  float padding[3];
};

// What a block works on; the same in all its threads.
template <bool kNv12>
struct Tile {
  static constexpr int kPlanes = kNv12 ? 2 : 1;

  bool usable;
  bool narrow;
  std::int32_t x, y;           // first output
  std::int32_t columns, rows;  // outputs
  float box[4];
  Plane planes[kPlanes];
  float share[kPlanes];  // 1 / (area of a window)
  std::size_t out;       // index of the crop's first output
};

template <bool kNv12>
struct Shared {
  static constexpr int kPlanes = kNv12 ? 2 : 1;

  Window x[kPlanes][kTile];
  Window y[kPlanes][kStrips * kMaxRows];
  float strips[kWarps][kChunk];
  float sums[3][kThreads];
};

// Chroma planes are half as large, and so is their box.
EDGEPOSE_HD float on_plane(float edge, int plane) { return plane == 0 ? edge : 0.5f * edge; }

template <bool kNv12>
EDGEPOSE_DEVICE Tile<kNv12> locate(const Launch& launch, const Grid& block) {
  Tile<kNv12> tile = {};
  const std::int32_t tile_rows = kStrips * launch.rows;
  tile.x = kTile * static_cast<std::int32_t>(block.x);
  tile.y = tile_rows * static_cast<std::int32_t>(block.y);
  tile.columns = launch.width - tile.x < kTile ? launch.width - tile.x : kTile;
  tile.rows = launch.height - tile.y < tile_rows ? launch.height - tile.y : tile_rows;
  tile.out = static_cast<std::size_t>(block.z) * 3 * static_cast<std::size_t>(launch.height) *
             static_cast<std::size_t>(launch.width);
  for (int i = 0; i < 4; ++i) tile.box[i] = launch.boxes[4 * static_cast<std::size_t>(block.z) + i];
  const std::int64_t index = launch.frame_index == nullptr ? 0 : launch.frame_index[block.z];
  tile.usable = index >= 0 && index < launch.frame_count &&
                croppable(tile.box[0], tile.box[1], tile.box[2], tile.box[3]);
  if (!tile.usable) return tile;

  const DeviceFrame frame = launch.table != nullptr ? launch.table[index] : launch.frames[index];
  tile.usable = frame.height > 0 && frame.width > 0;
  if (!tile.usable) return tile;
  tile.planes[0] = {frame.data, frame.row_stride, frame.height, frame.width};
  if constexpr (kNv12)
    tile.planes[1] = {frame.chroma, frame.chroma_stride, frame.height / 2, frame.width / 2};
  tile.narrow = true;
  for (int p = 0; p < tile.kPlanes; ++p) {
    const float across = window_length(on_plane(tile.box[0], p), on_plane(tile.box[2], p),
                                       launch.inverse_width, launch.antialias);
    const float down = window_length(on_plane(tile.box[1], p), on_plane(tile.box[3], p),
                                     launch.inverse_height, launch.antialias);
    tile.share[p] = 1.0f / (across * down);
    tile.narrow = tile.narrow && across <= kNarrow && down <= kNarrow;
  }
  return tile;
}

template <bool kNv12>
EDGEPOSE_DEVICE void make_windows(const Launch& launch, const Tile<kNv12>& tile,
                                  Shared<kNv12>& shared, int t) {
  for (int p = 0; p < tile.kPlanes; ++p) {
    const Plane& plane = tile.planes[p];
    for (int i = t; i < kTile + tile.rows; i += kThreads) {
      const bool across = i < kTile;
      // Chosen by value: an index known only at run time would put the tile into local memory.
      const float lo = across ? tile.box[0] : tile.box[1];
      const float hi = across ? tile.box[2] : tile.box[3];
      Window window = make_window(on_plane(lo, p), on_plane(hi, p),
                                  across ? launch.inverse_width : launch.inverse_height,
                                  launch.antialias, across ? tile.x + i : tile.y + i - kTile,
                                  across ? plane.width : plane.height);
      if (!across && window.count == 0) window.first = 0;  // see Walker::sum
      (across ? shared.x[p][i] : shared.y[p][i - kTile]) = window;
    }
  }
}

// From the sums over an output's windows to its three values.
template <bool kNv12>
struct Finish {
  float scale[3], offset[3];  // per channel of the source

  EDGEPOSE_DEVICE Finish(const Launch& launch, const Tile<kNv12>& tile) {
    for (int k = 0; k < 3; ++k) {
      scale[k] = kNv12 ? tile.share[k > 0 ? tile.kPlanes - 1 : 0]
                       : tile.share[0] * launch.matrix[2 - k][k];
      offset[k] = scale[k] * launch.border[k];
    }
  }

  // `inside`: how much of the windows lies inside the first and the last plane.
  EDGEPOSE_DEVICE void operator()(const Launch& launch, const float (&sums)[3],
                                  const float (&inside)[2], float (&rgb)[3]) const {
    if constexpr (kNv12) {
      float rest[3];
      for (int k = 0; k < 3; ++k) rest[k] = scale[k] * sums[k] - offset[k] * inside[k > 0 ? 1 : 0];
      for (int c = 0; c < 3; ++c)
        rgb[c] = launch.padding[c] + launch.matrix[c][0] * rest[0] + launch.matrix[c][1] * rest[1] +
                 launch.matrix[c][2] * rest[2];
    } else {
      for (int k = 0; k < 3; ++k)
        rgb[2 - k] = launch.padding[2 - k] - offset[k] * inside[0] + scale[k] * sums[k];
    }
  }
};

template <bool kNv12, typename Out>
EDGEPOSE_DEVICE void walk(const Launch& launch, const Tile<kNv12>& tile,
                          const Shared<kNv12>& shared, int t) {
  const int column = kColumns * (t % kGroups);
  const int top = launch.rows * (t / kGroups);
  if (column >= tile.columns || top >= tile.rows) return;
  const int bottom = top + launch.rows < tile.rows ? top + launch.rows : tile.rows;

  Walker<kNv12 ? 1 : 3, kColumns> first;
  Walker<2, kColumns> chroma;
  float across[kColumns][2];
  first.start(tile.planes[0], shared.x[0] + column);
  for (int i = 0; i < kColumns; ++i) across[i][0] = covered(shared.x[0][column + i]);
  if constexpr (kNv12) {
    chroma.start(tile.planes[1], shared.x[1] + column);
    for (int i = 0; i < kColumns; ++i) across[i][1] = covered(shared.x[1][column + i]);
  }

  const Finish<kNv12> finish(launch, tile);
  const bool second = column + 1 < tile.columns;
  const std::size_t width = static_cast<std::size_t>(launch.width);
  const std::uint32_t plane = static_cast<std::uint32_t>(launch.height * launch.width);
  Out* to = static_cast<Out*>(launch.out) + tile.out +
            static_cast<std::size_t>(tile.y + top) * width +
            static_cast<std::size_t>(tile.x + column);
  for (int row = top; row < bottom; ++row, to += width) {
    float sums[kColumns][3];
    float down[2] = {};
    const Window y = shared.y[0][row];
    down[0] = covered(y);
    if constexpr (kNv12) {
      float luma[kColumns][1];
      float uv[kColumns][2];
      first.sum(y, luma);
      const Window chroma_y = shared.y[1][row];
      down[1] = covered(chroma_y);
      chroma.sum(chroma_y, uv);
      for (int i = 0; i < kColumns; ++i) {
        sums[i][0] = luma[i][0];
        sums[i][1] = uv[i][0];
        sums[i][2] = uv[i][1];
      }
    } else {
      first.sum(y, sums);
    }

    float rgb[kColumns][3];
    for (int i = 0; i < kColumns; ++i) {
      float inside[2] = {across[i][0] * down[0], 0.0f};
      if constexpr (kNv12) inside[1] = across[i][1] * down[1];
      finish(launch, sums[i], inside, rgb[i]);
    }
    if (launch.paired) {
      for (unsigned c = 0; c < 3; ++c) store_pair(to + c * plane, rgb[0][c], rgb[1][c]);
    } else {
      for (unsigned c = 0; c < 3; ++c) {
        store(to + c * plane, rgb[0][c]);
        if (second) store(to + c * plane + 1, rgb[1][c]);
      }
    }
  }
}

// Adds one plane's sums for the output rows `row` to `row + kWarps - 1`, one per warp.
template <int kChannels>
EDGEPOSE_DEVICE void gather(const Plane& plane, const Window* xs, int columns, const Window* ys,
                            int rows, float (*strips)[kChunk], float (*sums)[kThreads]) {
  const std::int64_t begin = static_cast<std::int64_t>(kChannels) * xs[0].first;
  const std::int64_t end =
      static_cast<std::int64_t>(kChannels) * (xs[columns - 1].first + xs[columns - 1].count);
  for (std::int64_t chunk = begin - begin % 12; chunk < end; chunk += kChunk) {
    EDGEPOSE_THREADS(t, kThreads) {
      const int warp = t / kTile;
      for (int at = 4 * (t % kTile); warp < rows && at < kChunk && chunk + at < end;
           at += 4 * kTile) {
        float four[4];
        sum_down<kChannels>(plane, ys[warp], chunk + at, four);
        for (int i = 0; i < 4; ++i) strips[warp][at + i] = four[i];
      }
    }
    EDGEPOSE_SYNC();
    EDGEPOSE_THREADS(t, kThreads) {
      const Window x = xs[t % kTile];
      const float* strip = strips[t / kTile];
      const std::int32_t origin = static_cast<std::int32_t>(chunk / kChannels);
      const std::int32_t from = x.first > origin ? 0 : origin - x.first;
      const std::int64_t left = static_cast<std::int64_t>(origin) + kChunk / kChannels - x.first;
      const std::int32_t to = left < x.count ? static_cast<std::int32_t>(left) : x.count;
      float part[kChannels] = {};
      for (std::int32_t k = from; k < to; ++k) {
        const float w = weight(x, k);
        for (int c = 0; c < kChannels; ++c)
          part[c] += w * strip[kChannels * (x.first - origin + k) + c];
      }
      for (int c = 0; c < kChannels; ++c) sums[c][t] += part[c];
    }
    EDGEPOSE_SYNC();
  }
}

template <typename Out>
EDGEPOSE_DEVICE void store_rgb(const Launch& launch, std::size_t crop, int x, int y,
                               const float (&rgb)[3]) {
  const std::size_t width = static_cast<std::size_t>(launch.width);
  Out* to = static_cast<Out*>(launch.out) + crop + static_cast<std::size_t>(y) * width +
            static_cast<std::size_t>(x);
  for (int c = 0; c < 3; ++c, to += static_cast<std::size_t>(launch.height) * width)
    store(to, rgb[c]);
}

}  // namespace edgepose

// The crop kernel on the GPU: one launch for all boxes of all frames.
//
// A block makes one tile of one crop, kTile outputs wide. Its threads fill two small tables, the
// windows of the tile's columns and of its rows, once per tile. Then
//
//   narrow  windows of up to 2 pixels, the real-time case: a thread walks down a strip of rows over
//           kColumns adjacent outputs. It sums each source row once and keeps the two newest sums
//           in registers, so an output row costs about one source row; nothing goes through
//           shared memory. Strips are long when there is much to do, so that little is spent on
//           a tile's beginning, and short when there is little, so that all of the GPU works.
//   wide    anything larger: each warp makes one output row. It sums the window's rows down into
//           a strip of shared memory, four adjacent bytes per lane and load, chunk by chunk along
//           the row, then each lane sums its own window of the strip. So reads are coalesced
//           however large the window, and a box larger than the frame costs no more than
//           the frame.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "crop_cuda.h"
#include "crop_cuda_tile.h"
#include "cuda_launch.h"

namespace edgepose {
namespace {

constexpr int kMaxBoxes = 65535;  // of one launch: CUDA's limit along z

template <bool kNv12, typename Out>
EDGEPOSE_KERNEL(kThreads, kResident[kNv12])
crop_kernel(EDGEPOSE_PARAMETER Launch launch) {
  EDGEPOSE_SHARED Shared<kNv12> shared;
  const Tile<kNv12> tile = locate<kNv12>(launch, EDGEPOSE_BLOCK());

  if (!tile.usable) {
    EDGEPOSE_THREADS(t, kThreads) {
      if (t % kTile < tile.columns)
        for (int row = t / kTile; row < tile.rows; row += kWarps)
          store_rgb<Out>(launch, tile.out, tile.x + t % kTile, tile.y + row, launch.padding);
    }
    return;
  }

  EDGEPOSE_THREADS(t, kThreads) { make_windows(launch, tile, shared, t); }
  EDGEPOSE_SYNC();

  if (tile.narrow) {
    EDGEPOSE_THREADS(t, kThreads) { walk<kNv12, Out>(launch, tile, shared, t); }
    return;
  }

  for (int row = 0; row < tile.rows; row += kWarps) {
    EDGEPOSE_THREADS(t, kThreads) {
      for (int k = 0; k < 3; ++k) shared.sums[k][t] = 0.0f;
    }
    gather<kNv12 ? 1 : 3>(tile.planes[0], shared.x[0], tile.columns, shared.y[0] + row,
                          tile.rows - row, shared.strips, shared.sums);
    if constexpr (kNv12)
      gather<2>(tile.planes[1], shared.x[1], tile.columns, shared.y[1] + row, tile.rows - row,
                shared.strips, shared.sums + 1);
    EDGEPOSE_THREADS(t, kThreads) {
      const int column = t % kTile;
      const int line = row + t / kTile;
      if (column < tile.columns && line < tile.rows) {
        const float sums[3] = {shared.sums[0][t], shared.sums[1][t], shared.sums[2][t]};
        float inside[2] = {};
        for (int p = 0; p < tile.kPlanes; ++p)
          inside[p] = covered(shared.x[p][column]) * covered(shared.y[p][line]);
        float rgb[3];
        Finish<kNv12>(launch, tile)(launch, sums, inside, rgb);
        store_rgb<Out>(launch, tile.out, tile.x + column, tile.y + line, rgb);
      }
    }
  }
}

EDGEPOSE_KERNEL(1, 1)
empty_kernel(EDGEPOSE_PARAMETER int) {}

unsigned blocks_of(int outputs, int tile) {
  return static_cast<unsigned>((outputs + tile - 1) / tile);
}

// The multiprocessors of the current device, asked for once per device.
int multiprocessors() {
#ifdef EDGEPOSE_CUDA_ON_HOST
  return 16;
#else
  constexpr int kDevices = 64;
  static std::atomic<int> known[kDevices];
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device >= kDevices) return 1;
  count = known[device].load(std::memory_order_relaxed);
  if (count > 0) return count;
  if (cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
    return 1;
  known[device].store(count, std::memory_order_relaxed);
  return count;
#endif
}

// A strip's rows: as many as leave the GPU as many blocks as can be resident at once, and then as
// few as make the same number of tiles, so that the last tile is as high as the others.
std::int32_t strip_rows(std::int64_t count, const CropSpec& spec, bool nv12) {
  const std::int64_t wanted = static_cast<std::int64_t>(kResident[nv12]) * multiprocessors();
  std::int32_t rows = kMaxRows;
  const auto tiles = [&] { return blocks_of(spec.height, kStrips * rows); };
  while (rows > 2 && count * blocks_of(spec.width, kTile) * tiles() < wanted) rows /= 2;
  return static_cast<std::int32_t>(blocks_of(spec.height, kStrips * static_cast<int>(tiles())));
}

// The matrix from YUV to RGB and, through its inverse, the border's colour in YUV.
void set_nv12(bool bt709, const Colour& colour, Launch& launch) {
  const double kr = bt709 ? 0.2126 : 0.299;
  const double kb = bt709 ? 0.0722 : 0.114;
  const double kg = 1.0 - kr - kb;
  const double luma = 255.0 / 219.0;
  const double chroma = 255.0 / 224.0;
  const double red = 2.0 * (1.0 - kr) * chroma;
  const double blue = 2.0 * (1.0 - kb) * chroma;
  const double matrix[3][3] = {
      {luma, 0.0, red}, {luma, -blue * kb / kg, -red * kr / kg}, {luma, blue, 0.0}};
  for (int c = 0; c < 3; ++c)
    for (int k = 0; k < 3; ++k)
      launch.matrix[c][k] = static_cast<float>(colour.gain[c] * matrix[c][k]);
  const double grey = kr * colour.border[0] + kg * colour.border[1] + kb * colour.border[2];
  launch.border[0] = static_cast<float>(16.0 + grey / luma);
  launch.border[1] = static_cast<float>(128.0 + (colour.border[2] - grey) / blue);
  launch.border[2] = static_cast<float>(128.0 + (colour.border[0] - grey) / red);
}

}  // namespace

cudaError_t crop_cuda(const DeviceFrames& frames, const Box* boxes, const std::int64_t* frame_index,
                      std::int64_t count, const CropSpec& spec, void* out, cudaStream_t stream) {
  if (frames.count < 0 || (!frames.on_device && frames.count > kMaxHostFrames))
    return cudaErrorInvalidValue;
  const bool half = spec.format == Format::kFloat16;
  const std::size_t element = half ? sizeof(Half) : sizeof(float);
  const std::int64_t outputs = static_cast<std::int64_t>(spec.height) * spec.width;

  Launch launch = {};
  if (frames.on_device)
    launch.table = frames.table;
  else
    std::copy_n(frames.table, frames.count, launch.frames);
  launch.inverse_width = invert(spec.width);
  launch.inverse_height = invert(spec.height);
  launch.frame_count = frames.count;
  launch.width = spec.width;
  launch.height = spec.height;
  launch.rows = strip_rows(count, spec, frames.source != Source::kBgr);
  launch.antialias = spec.antialias;
  launch.paired = spec.width % kColumns == 0 &&
                  reinterpret_cast<std::uintptr_t>(out) % (kColumns * element) == 0;
  for (int c = 0; c < 3; ++c) {
    launch.matrix[c][2 - c] = spec.colour.gain[c];
    launch.border[2 - c] = spec.colour.border[c];
    launch.padding[c] = spec.colour.padding[c];
  }
  const bool bgr = frames.source == Source::kBgr;
  if (!bgr) set_nv12(frames.source == Source::kNv12Bt709, spec.colour, launch);

  const auto kernel = bgr ? (half ? crop_kernel<false, Half> : crop_kernel<false, float>)
                          : (half ? crop_kernel<true, Half> : crop_kernel<true, float>);
  Grid grid = {blocks_of(spec.width, kTile), blocks_of(spec.height, kStrips * launch.rows), 0};
  for (std::int64_t done = 0; done < count; done += kMaxBoxes) {
    grid.z = static_cast<unsigned>(std::min<std::int64_t>(count - done, kMaxBoxes));
    launch.boxes = &boxes[done].x0;
    launch.frame_index = frame_index == nullptr ? nullptr : frame_index + done;
    launch.out = static_cast<char*>(out) + static_cast<std::size_t>(done * outputs) * 3 * element;
    const cudaError_t error = run_kernel(kernel, grid, kThreads, stream, launch);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t launch_nothing(cudaStream_t stream) {
  return run_kernel(empty_kernel, Grid{1, 1, 1}, 1, stream, 0);
}

}  // namespace edgepose

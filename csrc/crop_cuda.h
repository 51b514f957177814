// The crop kernel on the GPU. The contract is crop.h's; what follows is what differs.
//
//   Memory     Boxes, frame indices, frames and out lie in device memory. Frames need no alignment;
//              rows may be pitched (row_stride may be padded, zero or negative).
//   Table      The table of frames lies in host memory, then it travels by value with the launch
//              and nothing has to outlive the call; or in device memory, then it is read when the
//              launch runs, so that a captured launch replays with what the table says by then.
//   Order      One launch on the given stream; no allocation, no copy, no synchronisation.
//   Bad box    Detected on the device: padding. So is a frame index outside the table, or one of
//              a frame with no pixels.
//
//   NV12       A decoder's surface: a plane Y of height x width (both even) and a plane of
//              interleaved U and V samples, half as high and half as wide, limited range.
//              Chroma is centred: sample (i, j) covers luma rows [2i, 2i + 2) and columns
//              [2j, 2j + 2). Each plane is resampled by the rule of crop.h on its own grid, the
//              chroma planes with the box halved, so chroma is interpolated where a box is
//              enlarged and averaged exactly where it is reduced. Then, per output,
//                  y = (Y - 16) / 219, u = (U - 128) / 224, v = (V - 128) / 224
//                  R = 255 (y + 2 (1 - Kr) v)
//                  B = 255 (y + 2 (1 - Kb) u)
//                  G = (255 y - Kr R - Kb B) / (1 - Kr - Kb)
//              with Kr, Kb = 0.299, 0.114 (BT.601) or 0.2126, 0.0722 (BT.709). Nothing is rounded
//              or clipped on the way. Outside each plane lies the border colour, converted.
//              The NumPy definition is edgepose/crop/reference_nv12.py.
#pragma once

#include <cstdint>

#include "crop.h"
#include "cuda_types.h"

namespace edgepose {

enum class Source { kBgr, kNv12Bt601, kNv12Bt709 };

struct DeviceFrame {
  const std::uint8_t* data;    // BGR, or the plane Y
  const std::uint8_t* chroma;  // NV12: the plane UV; else null
  std::int64_t row_stride;     // bytes
  std::int64_t chroma_stride;  // bytes
  std::int32_t height, width;  // >= 1, or the frame has no pixels; even with NV12
};

struct DeviceFrames {
  Source source;
  const DeviceFrame* table;
  std::int32_t count;
  bool on_device;  // where the table lies
};

// Of a table in host memory: what fits into the kernel's parameters next to the rest.
constexpr int kMaxHostFrames = 64;

// Crops boxes[i] out of frames.table[frame_index[i]] into the i-th crop of out, for i < count, on
// `stream` of the current device. A null frame_index means frame 0. Returns the launch's error,
// cudaErrorInvalidValue for a table of a bad length.
cudaError_t crop_cuda(const DeviceFrames& frames, const Box* boxes, const std::int64_t* frame_index,
                      std::int64_t count, const CropSpec& spec, void* out, cudaStream_t stream);

// Launches a kernel that does nothing: what a launch costs by itself.
cudaError_t launch_nothing(cudaStream_t stream);

}  // namespace edgepose

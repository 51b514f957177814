// The arithmetic between the networks of a cascade, on the GPU: from what a network says about
// the points in a box to their place in the frame, and on to the boxes that the next network looks
// at. Knows points and boxes, nothing else.
//
// THE CONTRACT (the NumPy definition is edgepose/geometry.py; both agree to 1e-5 of the largest
// value in play)
//
//   rows     One row per group of `points` points that are sized together. Of `rows` rows the first
//            *count are in use, count being read when the launch runs, so that a captured launch
//            replays with another; the others are spare: their points become 0, their boxes empty,
//            which crop.h calls a bad box, and their frame index 0.
//   points   float32 x, y in frame pixels, rows x points x 2.
//   boxes    float32 x0, y0, x1, y1 as of crop.h, one per row, or one per point.
//
//   centre c = (x0 + x1, y0 + y1) / 2, size w = (x1 - x0, y1 - y0)
//   square_boxes   the square around c with side margin * max(w)
//   denormalise    y = c + w * p, with p in units of the row's box, 0 its centre: N^-1
//   refine         y = y + w * d, with d in units of the point's own box
//   next boxes     per point the square around y with side min(sigma * size, kMaxSide), where
//                  size = max(largest distance of the pairs, floor * extent, 1)
//                  and extent is the longer side of the rectangle around the row's points.
//
//   Bad input      NaN and infinity are carried through as in NumPy, into boxes that cannot be
//                  cropped; a row with one such point has no size, so none of its boxes can.
//   Memory, order  Everything lies in device memory; one launch on the given stream of the current
//                  device, no allocation, no copy, no synchronisation. `out` may be the input.
#pragma once

#include <cstdint>

#include "crop.h"
#include "cuda_types.h"

namespace edgepose {

// Of a row; more than the points of a face, two hands and a body.
constexpr std::int32_t kMaxPoints = 256;
// A longer side would only make the crop slower: it is more than any frame has.
constexpr float kMaxSide = 8192.0f;
constexpr int kMaxPairs = 2;

struct Rows {
  std::int32_t rows;          // >= 0, of every buffer
  std::int32_t points;        // 1 to kMaxPoints, of a row
  const std::int32_t* count;  // one, in device memory; null: every row is in use
};

struct NextBoxes {
  float sigma;
  std::int32_t pairs[kMaxPairs][2];  // points whose distance tells the size
  float floor;
  const std::int64_t* frame_index;  // of each row; null: frame 0
  Box* boxes;                       // written: one per point
  std::int64_t* indices;            // written: one per point, its row's; null: not wanted
};

// Return the launch's error, or cudaErrorInvalidValue for numbers that are out of range.
// `next` lies in host memory; null: no next boxes.
cudaError_t square_boxes(const Rows& rows, const Box* boxes, float margin, Box* out,
                         cudaStream_t stream);
cudaError_t denormalise(const Rows& rows, const float* points, const Box* boxes,
                        const NextBoxes* next, float* out, cudaStream_t stream);
cudaError_t refine(const Rows& rows, const float* points, const float* displacements,
                   const Box* boxes, const NextBoxes* next, float* out, cudaStream_t stream);

}  // namespace edgepose

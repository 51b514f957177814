// The crop kernel: cuts boxes out of uint8 frames, resamples, normalises and stores them as
// a network's input batch. Knows pixels and boxes, nothing else.
//
// THE CONTRACT (the NumPy definition is edgepose/crop/reference.py; every implementation agrees
// with it to 0.02 of an 8-bit level in float32, plus 1e-3 relative in float16)
//
//   frames   uint8, H x W x 3, BGR, the three channels of a pixel and the pixels of a row
//            adjacent; rows at any distance (row_stride may be padded, zero or negative).
//   boxes    float32 x0, y0, x1, y1: continuous edges, pixel i covers [i, i + 1).
//            A box may lie partly or wholly outside its frame.
//   out      n x 3 x height x width, RGB, C-contiguous, float32 or float16.
//
//   Per axis, with S outputs over the box side [x0, x1):
//       s = (x1 - x0) / S                              source pixels per output
//       c = x0 + (j + 1/2) s                           centre of output j
//       r = max(1, s) with antialiasing, 1 without     window
//       weight of pixel i = |[c - r/2, c + r/2] n [i, i + 1]| / r
//   So s <= 1 is half-pixel bilinear, s > 1 the exact area average, and the two meet at s = 1.
//   An output is the sum over pixels of (weight in y)(weight in x)(pixel).
//
//   Border   Pixels outside the frame have one constant colour, in 8-bit levels. Taps read the
//            frame, never the crop: a box inside the frame still reads its neighbourhood.
//   Colour   out = v * gain - mean / std with gain = scale / std, per RGB channel, v unrounded.
//            float16 is one round-to-nearest-even of the float32 result.
//   Bad box  NaN, infinite, empty, inverted, or an edge beyond +-kMaxEdge: every output of its
//            crop is the normalised border colour. is_croppable() tells them apart.
//
//   Only pixels inside the frame are visited, and only the bytes of its rows, so the cost is
//   bounded by the frame and the crop, however large the box.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgepose {

// Beyond 2^24 float32 no longer tells neighbouring pixels apart.
constexpr float kMaxEdge = 16777216.0f;

struct Frame {
  const std::uint8_t* data;   // first pixel of row 0
  std::int64_t height;        // >= 1
  std::int64_t width;         // >= 1
  std::ptrdiff_t row_stride;  // bytes from a row to the next
};

struct Box {
  float x0, y0, x1, y1;
};

// Per RGB channel. The padding is gain * border - mean / std, given by the caller so that
// "border = mean" yields exactly zero.
struct Colour {
  float gain[3];
  float border[3];
  float padding[3];
};

enum class Format { kFloat32, kFloat16 };

struct CropSpec {
  int height;  // >= 1
  int width;   // >= 1
  bool antialias;
  Format format;
  Colour colour;
};

inline bool is_croppable(const Box& box) {
  // Written so that NaN fails.
  return box.x0 >= -kMaxEdge && box.y0 >= -kMaxEdge && box.x1 <= kMaxEdge && box.y1 <= kMaxEdge &&
         box.x0 < box.x1 && box.y0 < box.y1;
}

// The instruction sets this machine can run, best first: of "avx512", "avx2", "neon", "scalar".
const std::vector<std::string>& cpu_isas();

// Crops boxes[i] out of frames[frame_index[i]] into the i-th crop of out, for i < count.
// Every frame_index must be valid, and isa an index into cpu_isas(). Boxes are shared out among
// `threads`, which live as long as the call; no state is kept.
void crop_cpu(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
              std::size_t count, const CropSpec& spec, void* out, std::size_t isa = 0,
              std::size_t threads = 1);

// A rough cost of that call in nanoseconds.
double estimate_cpu_ns(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
                       std::size_t count, const CropSpec& spec, std::size_t isa = 0);

}  // namespace edgepose

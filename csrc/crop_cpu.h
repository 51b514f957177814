// What the CPU kernel's instruction sets share: the two ways to compute a crop and the table of
// functions that an instruction set fills in.
//
//   Strips  A crop is cut into strips as wide as a register. A strip goes down the output rows and
//           keeps the last two source rows, already resampled horizontally, in registers: each is
//           resampled once, with weights in Q14 int16, and combined with float weights that carry
//           the colour gain, so that normalising and BGR -> RGB cost nothing. For boxes that are
//           not reduced far.
//   Area    An output row first sums its source rows, then the pixels of each window, all in
//           float. For boxes reduced further, and wherever Q14 would not hold the contract.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "crop.h"
#include "crop_axis.h"
#include "half.h"

#define EDGEPOSE_INLINE inline __attribute__((always_inline))

namespace edgepose::cpu {

constexpr std::int32_t kOne = 1 << 14;  // weight of a whole pixel in the horizontal tables
constexpr int kPositionBits = 38;       // positions are int64 with so many fractional bits
constexpr int kPositionToTable = kPositionBits - 14;

// The windows of the outputs along x: window j begins `edge + j * step` into the first source
// pixel, in 2^-kPositionBits pixels, and is `length` long, in 1 / kOne.
struct Windows {
  std::int64_t edge;  // >= 0
  std::int64_t step;
  std::int32_t length;  // >= kOne
  int size;

  // The most pixels that a window may touch.
  int taps() const { return (length - 1) / kOne + 2; }
  // The most pixels that `outputs` adjacent windows may touch.
  std::int64_t span(int outputs) const {
    const std::int64_t pixel = std::int64_t{1} << kPositionBits;
    return ((outputs - 1) * step + pixel - 1) / pixel + taps();
  }
};

struct alignas(64) Lanes {
  std::uint8_t bytes[64];
};

// How a row is resampled, laid out by one instruction set for its strips: where a strip's bytes
// begin, which byte each lane takes, the weights.
struct Columns {
  int mode;              // which of the instruction set's loops
  std::ptrdiff_t reach;  // bytes that it may read from a row's first one
  std::vector<std::int32_t> offsets;
  std::vector<Lanes> tables;
};

struct Tap {
  float weight[4];          // R, G, B, unused; of the row's resampled value in 1 / kOne levels
  const std::uint8_t* row;  // the source row's first byte
};

// An output row: out[c][j] = offset[c] - slope[c] * coverage[j] + sum of its weighted taps.
struct OutputRow {
  int taps;
  float offset[4];
  float slope[4];
};

// Adjacent output rows, at least as wide as a strip.
struct Tile {
  const Columns* columns;
  const OutputRow* rows;
  const Tap* taps;  // of all rows, one after another
  std::ptrdiff_t height;
  std::ptrdiff_t width;
  const float* coverage;  // null: every row has the first row's offset, and slope 0
  bool pairs;             // every row has two taps, and coverage is null
  Format format;
  void* out;             // of the first row, R
  std::ptrdiff_t pitch;  // outputs from a row to the next
  std::ptrdiff_t plane;  // outputs from R to G and from G to B
  // What to prefetch, 0: nothing; so many outputs, and bytes of source, on.
  std::ptrdiff_t ahead;
  std::ptrdiff_t source_ahead;
};

// An area crop: the axes are built, the buffers large enough.
struct AreaCrop {
  const Frame* frame;
  const CropSpec* spec;
  const Axis* x;
  const Axis* y;
  std::uint16_t* counts;  // BGR, sums of whole rows
  float* row;             // BGR, the vertical sums, then zeros
  float* resampled;       // BGR-, one per output
  float* planes;          // R, G, B rows on their way to float16
};

struct InstructionSet {
  const char* name;
  bool (*present)();
  void (*area)(const AreaCrop&, void* out);
  int lanes;  // outputs per strip; 0: there are no strips
  // False: the strips cannot do it.
  bool (*plan)(const Windows&, Columns*);
  void (*strips)(const Tile&);
};

extern const InstructionSet kScalar;
#if defined(__x86_64__)
extern const InstructionSet kAvx2;
extern const InstructionSet kAvx512;
#elif defined(__aarch64__)
extern const InstructionSet kNeon;
#endif

}  // namespace edgepose::cpu

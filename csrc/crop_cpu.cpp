// The crop kernel on the CPU: picks the instruction set and the way of each box. crop_plan.h plans
// its rows, the inner loops are in crop_cpu_<instruction set>.cpp; crop_cpu.h says how they work.
#include "crop_cpu.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <string>
#include <vector>

#include "crop_plan.h"

namespace edgepose {
namespace {

using namespace cpu;

// How far out fixed-point positions are held, and how far strips reduce vertically: their float
// sums must not grow long.
constexpr float kMaxStripEdge = 65536.0f;
constexpr double kMaxStripWindow = 64.0;

std::vector<const InstructionSet*> find_sets() {
  std::vector<const InstructionSet*> found;
#if defined(__x86_64__)
  for (const InstructionSet* set : {&cpu::kAvx512, &cpu::kAvx2})
    if (set->present()) found.push_back(set);
#elif defined(__aarch64__)
  found.push_back(&cpu::kNeon);
#endif
  found.push_back(&cpu::kScalar);
  return found;
}

const std::vector<const InstructionSet*>& sets() {
  static const std::vector<const InstructionSet*> found = find_sets();
  return found;
}

struct Scratch {
  Axis x, y;
  Columns columns;
  std::vector<float> row, resampled, planes, coverage;
  std::vector<std::uint8_t> staged, narrow;
  std::vector<std::uint16_t> counts;
  std::vector<OutputRow> rows;
  std::vector<Tap> taps;
};

template <class T>
T* grow(std::vector<T>& buffer, std::ptrdiff_t size) {
  if (static_cast<std::ptrdiff_t>(buffer.size()) < size)
    buffer.resize(static_cast<std::size_t>(size));
  return buffer.data();
}

void fill(const CropSpec& spec, std::ptrdiff_t plane, void* out) {
  for (std::ptrdiff_t c = 0; c < 3; ++c) {
    const float value = spec.colour.padding[c];
    if (spec.format == Format::kFloat32)
      std::fill_n(static_cast<float*>(out) + c * plane, plane, value);
    else
      std::fill_n(static_cast<std::uint16_t*>(out) + c * plane, plane, half_from_float(value));
  }
}

// Whether positions stay in range and Q14 weights hold the contract.
bool suits_strips(const Box& box, const Frame& frame, const CropSpec& spec) {
  // A gain so small would lose digits in a weight.
  constexpr float kLeastGain = 1e-30f;
  for (int c = 0; c < 3; ++c) {
    const float border = spec.colour.border[c];
    if (!(border >= 0.0f && border <= 255.0f)) return false;
    if (!(std::abs(spec.colour.gain[c]) >= kLeastGain)) return false;
  }
  return box.x0 >= -kMaxStripEdge && box.y0 >= -kMaxStripEdge && box.x1 <= kMaxStripEdge &&
         box.y1 <= kMaxStripEdge && static_cast<float>(frame.width) <= kMaxStripEdge;
}

// False: this box needs the area way.
bool crop_strips(const InstructionSet& set, const Frame& frame, const Box& box,
                 const CropSpec& spec, bool prefetch, Scratch& scratch, void* out) {
  if (set.lanes == 0 || !suits_strips(box, frame, spec)) return false;
  const auto fixed = [](double pixels) { return std::llrint(pixels * kPixel); };
  const double step_x = (static_cast<double>(box.x1) - box.x0) / spec.width;
  const double step_y = (static_cast<double>(box.y1) - box.y0) / spec.height;
  const double window_x = spec.antialias ? std::max(1.0, step_x) : 1.0;
  const double window_y = spec.antialias ? std::max(1.0, step_y) : 1.0;
  // Narrower crops than a strip are computed as wide as one and copied.
  const bool narrow = spec.width < set.lanes;
  const std::ptrdiff_t pitch = std::max(spec.width, set.lanes);
  if (window_x > kMaxStripWindow || window_y > kMaxStripWindow ||
      step_x * static_cast<double>(pitch) > kMaxStripEdge)
    return false;

  const std::int64_t left = fixed(box.x0 + 0.5 * step_x - 0.5 * window_x);
  const std::int64_t first = left >> kPositionBits;
  const Windows windows = {left - first * kPixel, fixed(step_x),
                           static_cast<std::int32_t>(std::lrint(window_x * kOne)), spec.width};
  Columns& columns = scratch.columns;
  if (!set.plan(windows, &columns)) return false;

  const std::ptrdiff_t plane = spec.height * pitch;
  const std::ptrdiff_t item = spec.format == Format::kFloat32 ? 4 : 2;
  std::uint8_t* target = static_cast<std::uint8_t*>(out);
  if (narrow) target = grow(scratch.narrow, 3 * plane * item);

  Height height{};
  height.top = fixed(box.y0 + 0.5 * step_y - 0.5 * window_y);
  height.step = fixed(step_y);
  height.length = static_cast<float>(window_y);
  height.extent = frame.height;
  for (int c = 0; c < 3; ++c) {
    height.gain[c] = static_cast<float>(spec.colour.gain[c] / (windows.length * window_y));
    height.border[c] = spec.colour.gain[c] * spec.colour.border[c];
    height.padding[c] = spec.colour.padding[c];
  }

  // A tile's outputs stay in the first-level cache until its neighbouring strips are written, and
  // those of the next tile with them where they have to be fetched.
  const std::ptrdiff_t wanted =
      std::clamp<std::ptrdiff_t>((prefetch ? 1024 : 4096) / pitch, 1, spec.height);
  const auto most_taps = static_cast<std::ptrdiff_t>(window_y) + 2;
  SourceRows source(frame, first, columns.reach);
  const std::ptrdiff_t tile_height =
      source.reserve(most_taps, wanted * most_taps, scratch.staged) / most_taps;
  OutputRow* rows = grow(scratch.rows, tile_height);
  Tap* taps = grow(scratch.taps, tile_height * most_taps);
  const Coverage coverage(windows, first, frame.width);
  const bool inside = coverage.complete() && height.inside(spec.height);
  if (!inside) coverage.write(grow(scratch.coverage, pitch));
  const bool pairs = inside && window_y == 1.0;

  Tile tile{};
  tile.columns = &columns;
  tile.rows = rows;
  tile.taps = taps;
  tile.width = pitch;
  tile.coverage = inside ? nullptr : scratch.coverage.data();
  tile.pairs = pairs;
  tile.format = spec.format;
  tile.pitch = pitch;
  tile.plane = plane;
  if (prefetch) {
    tile.ahead = tile_height * pitch;
    tile.source_ahead =
        static_cast<std::ptrdiff_t>(step_y * static_cast<double>(tile_height)) * frame.row_stride;
  }
  for (std::ptrdiff_t begin = 0; begin < spec.height; begin += tile_height) {
    tile.height = std::min<std::ptrdiff_t>(tile_height, spec.height - begin);
    tile.out = target + begin * pitch * item;
    source.begin_tile();
    if (pairs)
      plan_pairs(height, begin, tile.height, source, rows, taps);
    else
      plan_rows(height, begin, tile.height, source, inside, rows, taps);
    set.strips(tile);
  }
  if (narrow)
    for (std::ptrdiff_t i = 0; i < 3 * spec.height; ++i)
      std::memcpy(static_cast<std::uint8_t*>(out) + i * spec.width * item,
                  target + i * pitch * item, static_cast<std::size_t>(spec.width * item));
  return true;
}

void crop_area(const InstructionSet& set, const Frame& frame, const Box& box, const CropSpec& spec,
               Scratch& scratch, void* out) {
  scratch.x.build(box.x0, box.x1, spec.width, frame.width, spec.antialias);
  scratch.y.build(box.y0, box.y1, spec.height, frame.height, spec.antialias);
  // Zero-weight taps and the fourth lane read past the last pixel: finite zeros, never garbage.
  const std::ptrdiff_t used = 3 * scratch.x.pixels;
  constexpr std::ptrdiff_t kSpare = 3 * Axis::kMaxFixedTaps + 1;
  float* row = grow(scratch.row, used + kSpare);
  std::fill_n(row + used, kSpare, 0.0f);
  float* planes = spec.format == Format::kFloat16 ? grow(scratch.planes, 3 * spec.width) : nullptr;
  set.area({&frame, &spec, &scratch.x, &scratch.y, grow(scratch.counts, used), row,
            grow(scratch.resampled, 4 * spec.width), planes},
           out);
}

}  // namespace

void crop_cpu(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
              std::size_t count, const CropSpec& spec, void* out, std::size_t isa,
              std::size_t threads) {
  const InstructionSet& set = *sets()[isa];
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(spec.height) * spec.width;
  const std::size_t bytes =
      3 * static_cast<std::size_t>(plane) *
      (spec.format == Format::kFloat32 ? sizeof(float) : sizeof(std::uint16_t));
  // A batch much larger than the second-level cache has left it when it is written again.
  const bool prefetch = count * bytes > std::size_t{2} << 20;
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    Scratch scratch;
    for (std::size_t i = next++; i < count; i = next++) {
      void* to = static_cast<char*>(out) + i * bytes;
      if (!is_croppable(boxes[i])) {
        fill(spec, plane, to);
        continue;
      }
      const Frame& frame = frames[frame_index[i]];
      if (!crop_strips(set, frame, boxes[i], spec, prefetch, scratch, to))
        crop_area(set, frame, boxes[i], spec, scratch, to);
    }
  };
  std::vector<std::future<void>> others;
  for (std::size_t t = 1; t < std::min(threads, count); ++t)
    others.push_back(std::async(std::launch::async, work));
  work();
  for (std::future<void>& other : others) other.get();
}

double estimate_cpu_ns(const Frame* frames, const Box* boxes, const std::int64_t* frame_index,
                       std::size_t count, const CropSpec& spec, std::size_t isa) {
  const double slowness = sets()[isa]->lanes == 0 ? 5.0 : 1.0;
  const double per_output = 0.3 * slowness;
  const double per_source_pixel = 0.2 * slowness;
  double ns = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    ns += per_output * spec.height * spec.width;
    const Box& box = boxes[i];
    if (!is_croppable(box)) continue;
    const Frame& frame = frames[frame_index[i]];
    const double w =
        std::min<double>(box.x1, static_cast<double>(frame.width)) - std::max(box.x0, 0.0f);
    const double h =
        std::min<double>(box.y1, static_cast<double>(frame.height)) - std::max(box.y0, 0.0f);
    ns += per_source_pixel * std::max(w, 0.0) * std::max(h, 0.0);
  }
  return ns;
}

const std::vector<std::string>& cpu_isas() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const InstructionSet* set : sets()) all.emplace_back(set->name);
    return all;
  }();
  return names;
}

}  // namespace edgepose

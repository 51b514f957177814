// The crop kernel on the CPU: picks the instruction set, plans each box and drives its rows. The
// inner loops are in crop_cpu_<instruction set>.cpp; crop_cpu.h says how they work.
#include "crop_cpu.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <string>
#include <vector>

namespace edgepose {
namespace {

using cpu::Columns;
using cpu::InstructionSet;
using cpu::kOne;
using cpu::kPositionBits;
using cpu::OutputRow;
using cpu::Tap;
using cpu::Tile;
using cpu::Windows;

constexpr std::int64_t kPixel = std::int64_t{1} << kPositionBits;

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

void store(float* out, Four value) { *reinterpret_cast<Four*>(out) = value; }

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
void plan_pairs(const Height& height, std::ptrdiff_t begin, std::ptrdiff_t count,
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

void plan_rows(const Height& height, std::ptrdiff_t begin, std::ptrdiff_t count, SourceRows& source,
               bool inside, OutputRow* row, Tap* tap) {
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

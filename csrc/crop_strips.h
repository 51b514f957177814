// The strips' loop (crop_cpu.h), once for every instruction set. Whoever includes it defines
// EDGEPOSE_TARGET, its function attribute, and gives a class with
//   Vector, kLanes                     floats
//   Rgb                                Vector r, g, b
//   Table<kMode>(columns, strip)       the strip's table, in registers; it can prefetch(row)
//   resample(table, row)               Rgb of a source row
//   set(const float*), load(const float*), fma(a, b, c), fnma(a, b, c) = c - a * b
//   store(float*, v), store(uint16_t*, v)
#pragma once

#include <type_traits>

#include "crop_cpu.h"

namespace edgepose::cpu {

template <class Isa>
EDGEPOSE_TARGET EDGEPOSE_INLINE void add(const Tap& tap, const typename Isa::Rgb& value,
                                         typename Isa::Rgb& sum) {
  sum.r = Isa::fma(value.r, Isa::set(tap.weight), sum.r);
  sum.g = Isa::fma(value.g, Isa::set(tap.weight + 1), sum.g);
  sum.b = Isa::fma(value.b, Isa::set(tap.weight + 2), sum.b);
}

enum class Rows { kAny, kInside, kPairs };

template <class Isa, int kMode, Rows kRows, class Out>
EDGEPOSE_TARGET void run_strips(const Tile& tile) {
  using Rgb = typename Isa::Rgb;
  constexpr std::ptrdiff_t kLanes = Isa::kLanes;
  const OutputRow* const end = tile.rows + tile.height;
  const std::ptrdiff_t pitch = tile.pitch;
  const std::ptrdiff_t plane = tile.plane;
  for (std::ptrdiff_t begin = 0, strip = 0; begin < tile.width; begin += kLanes, ++strip) {
    // The last strip overlaps the one before it.
    const std::ptrdiff_t first = std::min(begin, tile.width - kLanes);
    const typename Isa::template Table<kMode> table(*tile.columns, strip);
    const float* offset = tile.rows->offset;
    const Rgb offsets = {Isa::set(offset), Isa::set(offset + 1), Isa::set(offset + 2)};
    typename Isa::Vector coverage{};
    if (kRows == Rows::kAny) coverage = Isa::load(tile.coverage + first);
    Out* out = static_cast<Out*>(tile.out) + first;
    Rgb last{}, before{};
    const std::uint8_t* last_row = nullptr;
    const std::uint8_t* before_row = nullptr;
    const Tap* tap = tile.taps;
    for (const OutputRow* row = tile.rows; row != end; ++row, out += pitch) {
      Rgb sum = offsets;
      if (kRows == Rows::kPairs) {
        if (tap[1].row != last_row) {
          before = tap[0].row == last_row ? last : Isa::resample(table, tap[0].row);
          last = Isa::resample(table, tap[1].row);
          if (tile.ahead) table.prefetch(tap[1].row + tile.source_ahead);
          last_row = tap[1].row;
        }
        add<Isa>(tap[0], before, sum);
        add<Isa>(tap[1], last, sum);
        tap += 2;
      } else {
        if (kRows == Rows::kAny) {
          sum.r = Isa::fnma(coverage, Isa::set(row->slope), Isa::set(row->offset));
          sum.g = Isa::fnma(coverage, Isa::set(row->slope + 1), Isa::set(row->offset + 1));
          sum.b = Isa::fnma(coverage, Isa::set(row->slope + 2), Isa::set(row->offset + 2));
        }
        for (const Tap* stop = tap + row->taps; tap != stop; ++tap) {
          if (tap->row == before_row) {
            add<Isa>(*tap, before, sum);
            continue;
          }
          if (tap->row != last_row) {
            before = last;
            before_row = last_row;
            last = Isa::resample(table, tap->row);
            if (tile.ahead) table.prefetch(tap->row + tile.source_ahead);
            last_row = tap->row;
          }
          add<Isa>(*tap, last, sum);
        }
      }
      if (tile.ahead) {
        __builtin_prefetch(out + tile.ahead, 1);
        __builtin_prefetch(out + tile.ahead + plane, 1);
        __builtin_prefetch(out + tile.ahead + 2 * plane, 1);
      }
      Isa::store(out, sum.r);
      Isa::store(out + plane, sum.g);
      Isa::store(out + 2 * plane, sum.b);
    }
  }
}

template <class Isa, int kMode, class Out>
EDGEPOSE_TARGET void run_rows(const Tile& tile) {
  if (tile.coverage)
    run_strips<Isa, kMode, Rows::kAny, Out>(tile);
  else if (tile.pairs)
    run_strips<Isa, kMode, Rows::kPairs, Out>(tile);
  else
    run_strips<Isa, kMode, Rows::kInside, Out>(tile);
}

template <class Isa, int kMode>
EDGEPOSE_TARGET void run_mode(const Tile& tile) {
  if (tile.format == Format::kFloat32)
    run_rows<Isa, kMode, float>(tile);
  else
    run_rows<Isa, kMode, std::uint16_t>(tile);
}

}  // namespace edgepose::cpu

// The window of one output along one axis, for the CUDA crop kernel: without double precision,
// which Jetsons and GeForces run at a 64th of the rate.
#pragma once

#include <cstdint>

#include "cuda_launch.h"

namespace edgepose {

// Cut to the plane, as overlap lengths in pixels: the first pixel weighs `head`, the last one
// `tail`, those between exactly 1. Division by the window's length comes once, at the end.
struct alignas(16) Window {
  std::int32_t first;  // also where the plane begins or ends for a window outside it
  std::int32_t count;  // 0 outside the plane
  float head;
  float tail;  // 0 with fewer than two pixels
};

// 1 / size as the sum of two floats.
struct Inverse {
  float high, low;
};

inline Inverse invert(int size) {
  const double exact = 1.0 / size;
  const float high = static_cast<float>(exact);
  return {high, static_cast<float>(exact - static_cast<double>(high))};
}

EDGEPOSE_HD float window_length(float lo, float hi, Inverse inverse, bool antialias) {
  const float step = (hi - lo) * inverse.high;
  return antialias && step > 1.0f ? step : 1.0f;
}

// a * b + c, rounded once: gives the exact error of a product.
EDGEPOSE_HD float multiply_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

EDGEPOSE_HD float round_down(float value) {
#ifdef __CUDA_ARCH__
  return floorf(value);
#else
  return __builtin_floorf(value);
#endif
}

// A float has no room for a fraction of a pixel in a far-away box. So the box's side and the step
// are sums of two floats (TwoSum of Knuth, TwoProduct by a fused multiply-add: Ogita, Rump, Oishi,
// "Accurate sum and dot product", 2005), and positions are whole pixels, as integers, and a rest.
EDGEPOSE_HD Window make_window(float lo, float hi, Inverse inverse, bool antialias, int j,
                               std::int32_t extent) {
  const float side = hi - lo;
  const float back = side - hi;
  const float side_low = (hi - (side - back)) + (-lo - back);
  const float step = side * inverse.high;
  const float step_low = multiply_add(side, inverse.high, -step) +
                         multiply_add(side, inverse.low, side_low * inverse.high);
  // The centre is lo + (j + 1/2) step.
  const float at = static_cast<float>(j) + 0.5f;
  const float way = at * step;
  const float way_low = multiply_add(at, step, -way) + at * step_low;
  const bool wide = antialias && step > 1.0f;
  const float radius = wide ? 0.5f * step : 0.5f;
  const float radius_low = wide ? 0.5f * step_low : 0.0f;

  const float lo_whole = round_down(lo);
  const float way_whole = round_down(way);
  const float radius_whole = round_down(radius);
  const float centre_rest = (lo - lo_whole) + (way - way_whole);
  const float radius_rest = radius - radius_whole;
  const float begin_rest = centre_rest - radius_rest + (way_low - radius_low);
  const float end_rest = centre_rest + radius_rest + (way_low + radius_low);
  const float begin_whole = round_down(begin_rest);
  const float end_whole = -round_down(-end_rest);
  const std::int32_t centre =
      static_cast<std::int32_t>(lo_whole) + static_cast<std::int32_t>(way_whole);
  const std::int32_t reach = static_cast<std::int32_t>(radius_whole);
  std::int32_t first = centre - reach + static_cast<std::int32_t>(begin_whole);
  std::int32_t stop = centre + reach + static_cast<std::int32_t>(end_whole);
  float head = 1.0f - (begin_rest - begin_whole);
  float tail = 1.0f - (end_whole - end_rest);
  if (first < 0) {
    first = 0;
    head = 1.0f;
  }
  if (stop > extent) {
    stop = extent;
    tail = 1.0f;
  }
  first = first < extent ? first : extent;
  if (first >= stop) return {first, 0, 0.0f, 0.0f};
  if (stop - first == 1) return {first, 1, head + tail - 1.0f, 0.0f};
  return {first, stop - first, head, tail};
}

EDGEPOSE_HD float weight(const Window& window, int k) {
  return k == 0 ? window.head : k == window.count - 1 ? window.tail : 1.0f;
}

// The part of the window that lies inside the plane.
EDGEPOSE_HD float covered(const Window& window) {
  const float between = static_cast<float>(window.count > 2 ? window.count - 2 : 0);
  return window.head + between + window.tail;
}

}  // namespace edgepose

// What the Python modules share: how a crop is described to them.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <tuple>

#include "crop.h"

namespace edgepose {

using RgbTuple = std::array<float, 3>;
// gain, border, padding: edgepose.crop.Normalisation, as of Colour
using NormalisationTuple = std::tuple<RgbTuple, RgbTuple, RgbTuple>;

inline CropSpec make_spec(int height, int width, bool half, const NormalisationTuple& normalisation,
                          bool antialias) {
  constexpr int kMaxSize = 1 << 15;
  if (height < 1 || width < 1 || height > kMaxSize || width > kMaxSize)
    throw pybind11::value_error("a crop's sides must be from 1 to 32768");
  CropSpec spec{};
  spec.height = height;
  spec.width = width;
  spec.antialias = antialias;
  spec.format = half ? Format::kFloat16 : Format::kFloat32;
  const auto& [gain, border, padding] = normalisation;
  for (std::size_t c = 0; c < 3; ++c) {
    spec.colour.gain[c] = gain[c];
    spec.colour.border[c] = border[c];
    spec.colour.padding[c] = padding[c];
  }
  return spec;
}

}  // namespace edgepose

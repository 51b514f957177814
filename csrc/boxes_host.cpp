// boxes_cuda.cu for the host: see cuda_launch.h.
#include "boxes_cuda.cu"

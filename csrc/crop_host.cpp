// crop_cuda.cu for the host: see cuda_launch.h.
#include "crop_cuda.cu"

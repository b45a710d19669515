// SpatialBasisConv on an NVIDIA GPU, callable from C; needs neither TensorRT nor CUDA headers.
//
//   Y[s, n, p] = b[n] + sum over g, k of T[n, g, k] Z[s, g, m(n), k, stride p + dilation k - pad]
//   Z[s, g, m, k, q] = sum over c of B[m, g, c, k] X[s, g, c, q], zero outside of the input
//
//   X (samples, channels, input...)           B (templates, groups, channels / groups, kernel...)
//   T (filters, groups, kernel...)            m (filters) 0-based      b (filters)      Y (samples, filters, output...)
//
// All arrays are dense, last axis fastest. Fewer than three spatial axes: the first ones have size, stride and
// dilation 1 and pad 0. Source: Miles and Mikolajczyk, ICCV Workshops 2023 (arXiv 2110.12844), section 3.

#ifndef ONNX_COMPRESS_SPATIAL_BASIS_CONV_H
#define ONNX_COMPRESS_SPATIAL_BASIS_CONV_H

#ifdef __CUDACC_RTC__  // run-time compilation of the kernel alone
typedef int int32_t;
#else
#include <stdint.h>
#endif

#define SBC_AXES 3

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SbcShape {
    int32_t samples, channels, filters, templates, groups;
    int32_t input[SBC_AXES], output[SBC_AXES], kernel[SBC_AXES];
    int32_t stride[SBC_AXES], pad[SBC_AXES], dilation[SBC_AXES];  // pad: before the first position
} SbcShape;

// Queue the computation on `stream` (a cudaStream_t). All pointers are of the device; sums are in FP32.
// Returns a cudaError_t: 0, or cudaErrorInvalidValue for a kernel of more than about 180 taps (all groups together).
int sbc_forward_float(const SbcShape* shape, const float* x, const float* basis, const float* transforms,
                      const int32_t* choice, const float* bias, float* y, void* stream);

// The same for FP16 (X, B, T, b and Y).
int sbc_forward_half(const SbcShape* shape, const void* x, const void* basis, const void* transforms,
                     const int32_t* choice, const void* bias, void* y, void* stream);

#ifdef __cplusplus
}
#endif

#endif

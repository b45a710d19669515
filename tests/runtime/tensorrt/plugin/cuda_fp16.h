// Half precision for the kernel on a host, in the place of CUDA's header: of one type, so that both kernels are there.

#ifndef CUDA_FP16_H
#define CUDA_FP16_H

struct __half {
    float value;
};

inline float __half2float(__half half) { return half.value; }
inline __half __float2half(float value) { return {value}; }

#endif

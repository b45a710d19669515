// The launch of spatial_basis_conv.cu on the host: blocks one after another.

#include "emulated_block.h"

namespace {

template <typename T, int M>
int run(const sbc::Problem<T>& problem) {
    const SbcShape& shape = problem.shape;
    for (int sample = 0; sample < shape.samples; ++sample) {
        for (int first = 0; first < shape.templates; first += M) {
            for (int tile = 0; tile < sbc::divide_up(sbc::volume(shape.output), sbc::kTile); ++tile) {
                run_block(sbc::Block<T, M>{problem, tile, first, sample}, sbc::warps_of(shape));
            }
        }
    }
    return 0;
}

template <typename T>
int dispatch(const sbc::Problem<T>& problem) {
    switch (sbc::templates_per_block(problem.shape)) {
        case 8: return run<T, 8>(problem);
        case 4: return run<T, 4>(problem);
        case 2: return run<T, 2>(problem);
        case 1: return run<T, 1>(problem);
        default: return 1;
    }
}

}  // namespace

extern "C" int sbc_forward_float(const SbcShape* shape, const float* x, const float* basis, const float* transforms,
                                 const int32_t* choice, const float* bias, float* y, void*) {
    return dispatch(sbc::Problem<float>{*shape, x, basis, transforms, choice, bias, y});
}

#ifdef __FLT16_MAX__
extern "C" int sbc_forward_half(const SbcShape* shape, const void* x, const void* basis, const void* transforms,
                                const int32_t* choice, const void* bias, void* y, void*) {
    using Half = const _Float16*;
    return dispatch(sbc::Problem<_Float16>{*shape, static_cast<Half>(x), static_cast<Half>(basis),
                                           static_cast<Half>(transforms), choice, static_cast<Half>(bias),
                                           static_cast<_Float16*>(y)});
}
#else
extern "C" int sbc_forward_half(const SbcShape*, const void*, const void*, const void*, const int32_t*, const void*,
                                void*, void*) {
    return 99;
}
#endif

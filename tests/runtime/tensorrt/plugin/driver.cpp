// A CUDA driver on the host that knows the kernels of spatial_basis_conv.cu: a launch computes the blocks of the grid
// that it is given, with the threads and the shared memory that it is given.

#include <cstdlib>
#include <cstring>

#include "emulated_block.h"

namespace {

struct Function {
    bool half;
    int templates;
};

struct Grid {
    unsigned x, y, z;
};

template <typename T, int M>
int run(const void* parameter, Grid grid, unsigned warps, unsigned shared) {
    const sbc::Problem<T>& problem = *static_cast<const sbc::Problem<T>*>(parameter);
    const SbcShape& shape = problem.shape;
    if (M != sbc::templates_per_block(shape) || static_cast<int>(shared) != sbc::shared_bytes(shape, M)) return 2;
    for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                const int tile = static_cast<int>(x), first = static_cast<int>(y) * M, sample = static_cast<int>(z);
                run_block(sbc::Block<T, M>{problem, tile, first, sample}, static_cast<int>(warps));
            }
        }
    }
    return 0;
}

template <typename T>
int dispatch(int templates, const void* parameter, Grid grid, unsigned warps, unsigned shared) {
    switch (templates) {
        case 8: return run<T, 8>(parameter, grid, warps, shared);
        case 4: return run<T, 4>(parameter, grid, warps, shared);
        case 2: return run<T, 2>(parameter, grid, warps, shared);
        default: return run<T, 1>(parameter, grid, warps, shared);
    }
}

}  // namespace

extern "C" int cuModuleLoadData(void** module, const void* image) {
    *module = nullptr;
    return std::memcmp(image, "\177ELF", 4) == 0 ? 0 : 200;
}

// A name as compilers make it of sbc::forward<float, 8>: _ZN3sbc7forwardIfLi8EE..., of __half ...I6__halfLi8EE...
extern "C" int cuModuleGetFunction(void** function, void*, const char* name) {
    const char* const type = std::strstr(name, "sbc7forwardI");
    const char* const count = type == nullptr ? nullptr : std::strstr(type, "Li");
    if (count == nullptr) return 500;
    *function = new Function{std::strstr(type, "6__half") != nullptr, std::atoi(count + 2)};
    return 0;
}

extern "C" int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                              unsigned block_y, unsigned block_z, unsigned shared, void*, void** parameters, void**) {
    const Function& called = *static_cast<const Function*>(function);
    if (block_x != sbc::kLanes || block_y > sbc::kMaxRows || block_z != 1) return 1;
    const Grid grid{grid_x, grid_y, grid_z};
    if (!called.half) return dispatch<float>(called.templates, parameters[0], grid, block_y, shared);
#ifdef __FLT16_MAX__
    return dispatch<_Float16>(called.templates, parameters[0], grid, block_y, shared);
#else
    return 801;
#endif
}

#ifdef __FLT16_MAX__
extern "C" void half_precision() {}
#endif

// What TensorRT does with the plugin: finds its creator in the registry, makes a layer of the node's attributes, asks
// for types and sizes, stores and restores it, and runs a copy.

#include <NvInfer.h>

#include <cstring>
#include <deque>
#include <vector>

using namespace nvinfer1;

namespace {

std::deque<IDimensionExpr> expressions;

class Registry : public IPluginRegistry {
public:
    bool registerCreator(IPluginCreator& creator, const char* const name) noexcept override {
        found = &creator;
        space = name;
        return true;
    }
    IPluginCreator* found = nullptr;
    const char* space = "";
};

Registry& registry() {
    static Registry only;
    return only;
}

int floor_divide(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

}  // namespace

extern "C" IPluginRegistry* getPluginRegistry() noexcept { return &registry(); }

const IDimensionExpr* IExprBuilder::constant(int32_t value) noexcept {
    expressions.emplace_back(value);
    return &expressions.back();
}

const IDimensionExpr* IExprBuilder::operation(DimensionOperation op, const IDimensionExpr& first,
                                              const IDimensionExpr& second) noexcept {
    const int a = first.getConstantValue(), b = second.getConstantValue();
    return constant(op == DimensionOperation::kSUM ? a + b : floor_divide(a, b));
}

extern "C" const char* creator_name() { return registry().found->getPluginName(); }
extern "C" const char* creator_namespace() { return registry().space; }

// The layer's output sizes go to `sizes`. Returns 0, or the number of the step that failed.
extern "C" int drive(int axes, const int32_t* kernel, const int32_t* strides, const int32_t* pads,
                     const int32_t* dilations, const int32_t* ranks, const int32_t* dims, const void* const* inputs,
                     float* y, int32_t* sizes) {
    const PluginField fields[] = {{"kernel_shape", kernel, PluginFieldType::kINT32, axes},
                                  {"strides", strides, PluginFieldType::kINT32, axes},
                                  {"pads", pads, PluginFieldType::kINT32, 2 * axes},
                                  {"dilations", dilations, PluginFieldType::kINT32, axes}};
    const PluginFieldCollection given{4, fields}, few{3, fields};
    IPluginCreator& creator = *registry().found;
    if (creator.getFieldNames()->nbFields != 4 || creator.createPlugin("layer", &few) != nullptr) return 1;
    IPluginV2* const made = creator.createPlugin("layer", &given);
    if (made == nullptr) return 2;
    std::vector<char> stored(made->getSerializationSize());
    made->serialize(stored.data());
    made->destroy();
    if (creator.deserializePlugin("layer", stored.data(), stored.size() - 1) != nullptr) return 3;
    auto* const restored =
        static_cast<IPluginV2DynamicExt*>(creator.deserializePlugin("layer", stored.data(), stored.size()));
    IPluginV2DynamicExt* const layer = restored->clone();
    restored->destroy();

    PluginTensorDesc tensors[6] = {};
    DimsExprs shapes[5];
    IExprBuilder build;
    for (int i = 0; i < 5; ++i) {
        tensors[i].dims.nbDims = shapes[i].nbDims = ranks[i];
        tensors[i].type = i == 3 ? DataType::kINT32 : DataType::kFLOAT;
        for (int axis = 0; axis < ranks[i]; ++axis, ++dims) {
            tensors[i].dims.d[axis] = *dims;
            shapes[i].d[axis] = build.constant(*dims);
        }
    }
    const DimsExprs out = layer->getOutputDimensions(0, shapes, 5, build);
    tensors[5].dims.nbDims = out.nbDims;
    for (int axis = 0; axis < out.nbDims; ++axis) {
        sizes[axis] = tensors[5].dims.d[axis] = out.d[axis]->getConstantValue();
    }
    for (int i = 0; i < 6; ++i) {
        if (!layer->supportsFormatCombination(i, tensors, 5, 1)) return 4;
    }
    tensors[4].type = DataType::kHALF;
    if (layer->supportsFormatCombination(4, tensors, 5, 1)) return 5;
    const DataType types[5] = {DataType::kHALF};
    if (layer->getOutputDataType(0, types, 5) != DataType::kHALF || layer->getNbOutputs() != 1) return 6;
    if (std::strcmp(layer->getPluginNamespace(), registry().space) != 0 || layer->initialize() != 0) return 7;
    void* outputs[] = {y};
    const int status = layer->enqueue(tensors, tensors + 5, inputs, outputs, nullptr, nullptr);
    layer->terminate();
    layer->destroy();
    return status == 0 ? 0 : 8;
}

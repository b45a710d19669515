// SpatialBasisConv for TensorRT 8.0 to 8.6: an IPluginV2DynamicExt, and its creator in the namespace "onnx_compress".
//
// The ONNX parser finds the creator by the node's op type and its attributes plugin_version and plugin_namespace, and
// hands over the attributes named in getFieldNames. Templates and transforms are inputs of the layer, not fields: they
// stay constants of the network, which the builder turns into the layer's precision.
//
//   inputs    X (S, C, spatial...)   B (M, C, k...)   T (N, G, k...)   m (N) INT32   b (N)
//   output    Y (S, N, spatial...)        m: 0-based; T has a transform per group of C / G channels in a row
//
// FP32 and FP16, linear layout, one to three spatial axes, any of X's extents dynamic.

#include <NvInfer.h>

#include <cstring>
#include <string>
#include <vector>

#include "spatial_basis_conv.h"

namespace {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IExprBuilder;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr char kName[] = "SpatialBasisConv";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "onnx_compress";

enum Input { kX, kBasis, kTransforms, kChoice, kBias, kInputs };

// What the node's attributes say; serialized as it lies in memory, read by the library that wrote it.
struct Settings {
    int32_t axes;
    int32_t kernel[SBC_AXES], stride[SBC_AXES], before[SBC_AXES], after[SBC_AXES], dilation[SBC_AXES];
};

SbcShape shape_of(const Settings& settings, const Dims& x, const Dims& basis, const Dims& transforms,
                  const Dims& y) {
    SbcShape shape{x.d[0],    x.d[1],    y.d[1],    basis.d[0], transforms.d[1], {1, 1, 1},
                   {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {},         {1, 1, 1}};
    const int first = SBC_AXES - settings.axes;
    for (int axis = 0; axis < settings.axes; ++axis) {
        shape.input[first + axis] = x.d[2 + axis];
        shape.output[first + axis] = y.d[2 + axis];
        shape.kernel[first + axis] = settings.kernel[axis];
        shape.stride[first + axis] = settings.stride[axis];
        shape.pad[first + axis] = settings.before[axis];
        shape.dilation[first + axis] = settings.dilation[axis];
    }
    return shape;
}

class SpatialBasisConv : public nvinfer1::IPluginV2DynamicExt {
public:
    explicit SpatialBasisConv(const Settings& settings) : settings_(settings) {}

    const char* getPluginType() const noexcept override { return kName; }
    const char* getPluginVersion() const noexcept override { return kVersion; }
    const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
    void setPluginNamespace(const char* name) noexcept override { namespace_ = name; }
    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t initialize() noexcept override { return 0; }
    void terminate() noexcept override {}
    void destroy() noexcept override { delete this; }
    size_t getSerializationSize() const noexcept override { return sizeof(Settings); }
    void serialize(void* buffer) const noexcept override { std::memcpy(buffer, &settings_, sizeof(Settings)); }

    nvinfer1::IPluginV2DynamicExt* clone() const noexcept override {
        auto* const copy = new SpatialBasisConv(settings_);
        copy->namespace_ = namespace_;
        return copy;
    }

    DataType getOutputDataType(int32_t, const DataType* inputs, int32_t) const noexcept override { return inputs[kX]; }

    // floor((n + pads - (k - 1) dilation - 1) / stride) + 1 along every spatial axis.
    DimsExprs getOutputDimensions(int32_t, const DimsExprs* inputs, int32_t, IExprBuilder& build) noexcept override {
        DimsExprs result(inputs[kX]);
        result.d[1] = inputs[kTransforms].d[0];
        for (int axis = 0; axis < settings_.axes; ++axis) {
            const int span = (settings_.kernel[axis] - 1) * settings_.dilation[axis] + 1;
            const int room = settings_.before[axis] + settings_.after[axis] - span;
            const auto* const free =
                build.operation(DimensionOperation::kSUM, *inputs[kX].d[2 + axis], *build.constant(room));
            const auto* const steps =
                build.operation(DimensionOperation::kFLOOR_DIV, *free, *build.constant(settings_.stride[axis]));
            result.d[2 + axis] = build.operation(DimensionOperation::kSUM, *steps, *build.constant(1));
        }
        return result;
    }

    bool supportsFormatCombination(int32_t at, const PluginTensorDesc* tensors, int32_t inputs,
                                   int32_t outputs) noexcept override {
        if (inputs != kInputs || outputs != 1 || tensors[at].format != TensorFormat::kLINEAR) return false;
        if (at == kChoice) return tensors[at].type == DataType::kINT32;
        if (at == kX) return tensors[at].type == DataType::kFLOAT || tensors[at].type == DataType::kHALF;
        return tensors[at].type == tensors[kX].type;
    }

    void configurePlugin(const DynamicPluginTensorDesc*, int32_t, const DynamicPluginTensorDesc*,
                         int32_t) noexcept override {}

    size_t getWorkspaceSize(const PluginTensorDesc*, int32_t, const PluginTensorDesc*,
                            int32_t) const noexcept override {
        return 0;
    }

    int32_t enqueue(const PluginTensorDesc* in, const PluginTensorDesc* out, const void* const* inputs,
                    void* const* outputs, void*, cudaStream_t stream) noexcept override {
        const SbcShape shape = shape_of(settings_, in[kX].dims, in[kBasis].dims, in[kTransforms].dims, out[0].dims);
        const auto* const choice = static_cast<const int32_t*>(inputs[kChoice]);
        if (in[kX].type == DataType::kHALF) {
            return sbc_forward_half(&shape, inputs[kX], inputs[kBasis], inputs[kTransforms], choice, inputs[kBias],
                                    outputs[0], stream);
        }
        return sbc_forward_float(&shape, static_cast<const float*>(inputs[kX]),
                                 static_cast<const float*>(inputs[kBasis]),
                                 static_cast<const float*>(inputs[kTransforms]), choice,
                                 static_cast<const float*>(inputs[kBias]), static_cast<float*>(outputs[0]), stream);
    }

private:
    Settings settings_;
    std::string namespace_{kNamespace};
};

class Creator : public nvinfer1::IPluginCreator {
public:
    Creator() {
        for (const char* name : {"kernel_shape", "strides", "pads", "dilations"}) {
            fields_.emplace_back(name, nullptr, PluginFieldType::kINT32, 0);
        }
        collection_.nbFields = static_cast<int32_t>(fields_.size());
        collection_.fields = fields_.data();
    }

    const char* getPluginName() const noexcept override { return kName; }
    const char* getPluginVersion() const noexcept override { return kVersion; }
    const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
    void setPluginNamespace(const char* name) noexcept override { namespace_ = name; }
    const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }

    // Null where a field is missing, or not of one entry per spatial axis (pads: two).
    nvinfer1::IPluginV2* createPlugin(const char*, const PluginFieldCollection* given) noexcept override {
        Settings settings{};
        const PluginField* const kernel = find(*given, "kernel_shape");
        if (kernel == nullptr || kernel->length < 1 || kernel->length > SBC_AXES) return nullptr;
        settings.axes = kernel->length;
        const bool read = copy(*given, "kernel_shape", 0, settings.axes, settings.axes, settings.kernel) &&
                          copy(*given, "strides", 0, settings.axes, settings.axes, settings.stride) &&
                          copy(*given, "dilations", 0, settings.axes, settings.axes, settings.dilation) &&
                          copy(*given, "pads", 0, settings.axes, 2 * settings.axes, settings.before) &&
                          copy(*given, "pads", settings.axes, settings.axes, 2 * settings.axes, settings.after);
        return read ? named(new SpatialBasisConv(settings)) : nullptr;
    }

    nvinfer1::IPluginV2* deserializePlugin(const char*, const void* data, size_t length) noexcept override {
        if (length != sizeof(Settings)) return nullptr;
        Settings settings;
        std::memcpy(&settings, data, sizeof(Settings));
        return named(new SpatialBasisConv(settings));
    }

private:
    static const PluginField* find(const PluginFieldCollection& given, const char* name) {
        for (int32_t i = 0; i < given.nbFields; ++i) {
            if (std::strcmp(given.fields[i].name, name) == 0) return &given.fields[i];
        }
        return nullptr;
    }

    // Entries [from, from + count) of a field of `length` entries.
    static bool copy(const PluginFieldCollection& given, const char* name, int from, int count, int length,
                     int32_t* to) {
        const PluginField* const field = find(given, name);
        if (field == nullptr || field->type != PluginFieldType::kINT32 || field->length != length) return false;
        std::memcpy(to, static_cast<const int32_t*>(field->data) + from, sizeof(int32_t) * count);
        return true;
    }

    nvinfer1::IPluginV2* named(SpatialBasisConv* plugin) const {
        plugin->setPluginNamespace(namespace_.c_str());
        return plugin;
    }

    std::vector<PluginField> fields_;
    PluginFieldCollection collection_{};
    std::string namespace_{kNamespace};
};

// Loading the library registers the creator.
struct Registration {
    Registration() { getPluginRegistry()->registerCreator(creator, kNamespace); }
    Creator creator;
} registration;

}  // namespace

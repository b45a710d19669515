"""Convolutional networks of timm as ONNX files with random weights, for `coverage.py --folder`.

    python benchmarks/export_timm.py FOLDER [--side 96] [--names resnet18,...]

Runs in any Python with timm 1.0 and PyTorch; the project does not need either. Files that are there are left alone. A
small side keeps the runs short: what a pass can rewrite hangs on the layers, not on the size of the maps.
"""

import argparse
from pathlib import Path

import timm
import torch

NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet26d", "resnetv2_50", "resnext50_32x4d", "wide_resnet50_2"),
    *("seresnet18", "skresnet18", "ecaresnet26t", "resnetaa50", "resnest14d", "res2net50_26w_4s", "resnetblur18"),
    *("regnetx_002", "regnety_002", "regnetz_b16", "densenet121", "inception_v3", "inception_v4", "xception41"),
    *("efficientnet_b0", "tf_efficientnetv2_b0", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small"),
    *("mnasnet_small", "fbnetc_100", "spnasnet_100", "ghostnet_050", "hardcorenas_a", "lcnet_050", "mixnet_s"),
    *("convnext_atto", "convnextv2_atto", "dla34", "dla46_c", "hrnet_w18_small", "vgg11", "vgg16_bn", "darknet53"),
    *("cspresnet50", "cspdarknet53", "dpn48b", "selecsls42", "repvgg_a0", "rexnet_100", "tresnet_m", "nf_resnet26"),
    *("gernet_s", "semnasnet_050", "mobileone_s0", "fastvit_t8", "hgnet_tiny", "inception_next_atto", "starnet_s1"),
    *(
        "edgenext_xx_small",
        "poolformer_s12",
        "repghostnet_050",
        "tinynet_e",
        "vovnet39a",
        "eca_nfnet_l0",
        "cs3darknet_s",
    ),
)


def export(name: str, path: Path, side: int) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=10).eval()
    channels, *_ = model.default_cfg["input_size"]
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    torch.onnx.export(
        model,
        (torch.zeros(1, channels, side, side),),
        str(path),
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks of timm as ONNX files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--names", default=",".join(NAMES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names.split(","):
        path = args.folder / f"{name}.onnx"
        if path.is_file():
            continue
        try:
            export(name, path, args.side)
            print(f"{name}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
        except Exception as error:
            path.unlink(missing_ok=True)
            print(f"{name}: {error!r}"[:200], flush=True)


if __name__ == "__main__":
    main()

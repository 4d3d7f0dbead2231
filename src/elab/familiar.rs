//! What other frameworks call a layer, for 'did you mean'.

/// Names in lower case without `_` and a trailing `1d`, `2d` or `3d`.
const NAMES: [(&str, &str); 43] = [
    ("averagepooling", "avgpool"),
    ("adaptiveaveragepool", "avgpool"),
    ("adaptiveavgpool", "avgpool"),
    ("adaptivemaxpool", "maxpool"),
    ("batchnorm", "bn"),
    ("batchnormalization", "bn"),
    ("cat", "concat"),
    ("concatenate", "concat"),
    ("chunk", "split"),
    ("clamp", "clip"),
    ("convolution", "conv"),
    ("convtranspose", "conv_transpose"),
    ("deconv", "conv_transpose"),
    ("deconvolution", "conv_transpose"),
    ("dense", "linear"),
    ("depthwiseconv", "depthwise"),
    ("fc", "linear"),
    ("fullyconnected", "linear"),
    ("hardtanh", "clip"),
    ("interpolate", "upsample"),
    ("innerproduct", "linear"),
    ("localresponsenorm", "lrn"),
    ("maxpooling", "maxpool"),
    ("multiply", "mul"),
    ("reflectionpad", "pad"),
    ("replicationpad", "pad"),
    ("resize", "upsample"),
    ("subtract", "sub"),
    ("sum", "add"),
    ("swish", "silu"),
    ("threshold", "thresholded_relu"),
    ("upsampling", "upsample"),
    ("view", "reshape"),
    ("zeropad", "pad"),
    ("parametricrelu", "prelu"),
    ("groupnormalization", "group_norm"),
    ("instancenormalization", "instance_norm"),
    ("depthtospace", "pixel_shuffle"),
    ("spacetodepth", "pixel_unshuffle"),
    ("divide", "div"),
    ("max", "maximum"),
    ("min", "minimum"),
    ("maxout", "maximum"),
];

/// The layer that a name of another framework stands for: `Conv2d` is `conv`. `layers` are the names to choose from.
pub(super) fn familiar<'a>(name: &str, layers: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "");
    let mut wanted = plain(name);
    for suffix in ["1d", "2d", "3d"] {
        wanted = wanted.strip_suffix(suffix).map(str::to_owned).unwrap_or(wanted);
    }
    let same = layers.iter().find(|layer| plain(layer) == wanted && **layer != name);
    let known = NAMES.iter().find(|(other, _)| *other == wanted).map(|&(_, layer)| layer);
    same.copied().or_else(|| layers.iter().copied().find(|layer| Some(*layer) == known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op;

    #[test]
    fn names_of_other_frameworks_are_known() {
        let layers: Vec<&str> = op::signatures().map(|signature| signature.layer).collect();
        for (name, layer) in [
            ("Conv2d", Some("conv")),
            ("Conv2D", Some("conv")),
            ("ConvTranspose2d", Some("conv_transpose")),
            ("BatchNorm2d", Some("bn")),
            ("BatchNormalization", Some("bn")),
            ("ReLU", Some("relu")),
            ("LeakyReLU", Some("leaky_relu")),
            ("LogSoftmax", Some("log_softmax")),
            ("MaxPooling2D", Some("maxpool")),
            ("max_pool2d", Some("maxpool")),
            ("Dense", Some("linear")),
            ("LSTM", None),
            ("conv", None),
        ] {
            assert_eq!(familiar(name, &layers), layer, "{name}");
        }
        assert!(NAMES.iter().all(|(_, layer)| layers.contains(layer)));
    }
}

//! Nets made from the grammar rather than from bytes: most of them fit, so that wiring, shapes and the flat form are
//! reached.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const LAYERS: [&str; 65] = [
    "conv(8, 3, pad = 1)",
    "conv(N, N)",
    "conv(4, [N, N], stride = N, pad = N)",
    "conv(in.c, 1, groups = N)",
    "conv(8, 3, pad = same, dilation = N)",
    "depthwise(3, stride = N, pad = 1)",
    "conv_transpose(4, N, stride = N)",
    "linear(N)",
    "bn",
    "layer_norm",
    "lrn(5)",
    "relu",
    "leaky_relu(0.1)",
    "gelu",
    "softmax",
    "maxpool(N, stride = N, ceil = true)",
    "maxpool(2)",
    "avgpool(N, pad = 1)",
    "avgpool(global)",
    "avgpool(adaptive = [N, N])",
    "flatten",
    "reshape([N, N, N])",
    "dropout(0.5)",
    "pad(N)",
    "pad(1, mode = reflect)",
    "upsample(N)",
    "upsample(size = L)",
    "slice(0..N)",
    "channel_shuffle(N)",
    "scale(2.0)",
    "crop(to = L)",
    "crop([N, N])",
    "identity",
    "pad_shortcut(N, stride = N)",
    "affine",
    "conv(in.c * N // 2, 1)",
    "clip(min = 0, max = N)",
    "clip(min = N)",
    "selu",
    "celu(N)",
    "softplus(beta = N)",
    "softsign",
    "mish",
    "thresholded_relu(N)",
    "abs",
    "exp",
    "log",
    "sqrt",
    "pow(N)",
    "erf",
    "silu(beta = N)",
    "hard_sigmoid(slope = 0.2)",
    "prelu",
    "group_norm(N)",
    "instance_norm",
    "permute(hwc)",
    "pixel_shuffle(N)",
    "pixel_unshuffle(N, order = dcr)",
    "log_softmax",
    "avgpool(2, dilation = N)",
    "upsample(N, mode = bicubic)",
    "div(prev, L)",
    "maximum(prev, L)",
    "minimum(L, L)",
    "split(N)",
];

struct Writer<'a, 'b> {
    text: String,
    source: &'a mut Unstructured<'b>,
    labels: usize,
}

impl Writer<'_, '_> {
    fn filled(&mut self, pattern: &str) -> Result<()> {
        for c in pattern.chars() {
            match c {
                'N' => {
                    let small = self.source.int_in_range(0u32..=9)?;
                    let _ = match small {
                        9 => write!(self.text, "{}", self.source.arbitrary::<u64>()?),
                        8 => write!(self.text, "in.c"),
                        small => write!(self.text, "{}", small.max(1)),
                    };
                }
                'L' => self.label()?,
                c => self.text.push(c),
            }
        }
        Ok(())
    }

    fn label(&mut self) -> Result<()> {
        let at = self.source.int_in_range(0..=self.labels + 2)?;
        let _ = match at.checked_sub(self.labels) {
            None => write!(self.text, "l{at}"),
            Some(0) => write!(self.text, "in"),
            Some(1) => write!(self.text, "prev"),
            Some(_) => write!(self.text, "p{}.a", self.labels / 2),
        };
        Ok(())
    }

    fn statements(&mut self, depth: usize) -> Result<()> {
        for _ in 0..self.source.int_in_range(0..=5)? {
            if self.source.ratio(1, 2)? {
                let _ = write!(self.text, "l{}: ", self.labels);
                self.labels += 1;
            }
            let body = depth < 4 && self.source.ratio(1, 3)?;
            if body { self.with_body(depth)? } else { self.plain()? }
            self.text.push('\n');
        }
        Ok(())
    }

    fn plain(&mut self) -> Result<()> {
        let at = self.source.int_in_range(0..=LAYERS.len() + 3)?;
        match LAYERS.get(at) {
            Some(layer) => self.filled(layer),
            None => {
                let pattern = *self.source.choose(&[
                    "add(prev, L)",
                    "concat(L, L, axis = c)",
                    "mul(prev, L)",
                    "sub(L, L)",
                    "b(N)",
                    "b(N, stride = N, act = relu)",
                    "s0, s1: split(2)",
                    "let x = in.c + N",
                    "conv(x, 1)",
                    "output oN = L",
                ])?;
                self.filled(pattern)
            }
        }
    }

    fn with_body(&mut self, depth: usize) -> Result<()> {
        let pattern = *self.source.choose(&[
            "add {",
            "concat {",
            "mul {",
            "sequential {",
            "{",
            "from L {",
            "repeat N as i {",
            "for i in 0..N {",
            "if in.c == N {",
        ])?;
        self.filled(pattern)?;
        self.text.push('\n');
        self.statements(depth + 1)?;
        self.text.push('}');
        Ok(())
    }
}

fn net(source: &mut Unstructured) -> Result<String> {
    let mut writer = Writer { text: String::new(), source, labels: 0 };
    writer.text.push_str("block b(c, stride = 1, act = identity) {\n");
    writer.statements(2)?;
    writer.text.push_str("act\n}\n");
    let input = *writer.source.choose(&[
        "net n {\ninput x: [3, 8, 8]\n",
        "net n {\ninput x: [4, H, W] where H % 8 == 0\n",
        "net n(c = 4) {\ninput x: [c, 16, W]\n",
        "net n {\ninput x: [16]\n",
        "net n {\ninput x: [3, 8, 8]\ninput y: [3, 8, 8]\n",
    ])?;
    writer.text.push_str(input);
    writer.labels = 0;
    writer.statements(0)?;
    writer.statements(0)?;
    writer.text.push_str("output end\n}\n");
    Ok(writer.text)
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = net(&mut Unstructured::new(bytes)) {
        netc_fuzz::compile(text.as_bytes());
    }
});

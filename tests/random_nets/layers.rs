//! Single layers, and short chains of them.

use super::writer::{Dice, ELEMENTS, Writer, list, pair, written};

/// A window that slides.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: Pad,
}

enum Pad {
    Sides([usize; 4]),
    /// As many cells as keep the size divided by the stride, rounded up.
    Word(&'static str),
}

impl Window {
    /// One that fits. `inside` says that none may see padding only.
    fn draw(dice: &mut Dice, sizes: [usize; 2], dilations: &[usize], inside: bool) -> Window {
        let square = dice.below(4) < 3;
        let mut two = |of: &[usize]| {
            let first = dice.pick(of);
            if square { [first; 2] } else { [first, dice.pick(of)] }
        };
        let (kernel, stride, dilation) = (two(&[3, 1, 2, 5, 4]), two(&[1, 1, 1, 2, 2, 3]), two(dilations));
        let mut window = Window { kernel, stride, dilation, pad: Pad::Sides([0; 4]) };
        if inside {
            // Taps that are further apart than the map is wide can step over it.
            window.dilation = [0, 1].map(|axis| dilation[axis].min(sizes[axis]));
        }
        let mut sides = match dice.below(8) {
            0..=2 => [0, 1, 0, 1].map(|axis| window.extent(axis) / 2),
            3 | 4 => [(); 4].map(|()| dice.below(4)),
            5 => return Window { pad: Pad::Word(if stride == [1, 1] { "same" } else { "same_lower" }), ..window },
            6 => return Window { pad: Pad::Word(dice.pick(&["same_upper", "same_lower"])), ..window },
            _ => [0; 4],
        };
        for axis in 0..2 {
            loop {
                let most = if inside { window.extent(axis) - 1 } else { usize::MAX };
                for side in [axis, axis + 2] {
                    sides[side] = sides[side].min(most);
                }
                if window.extent(axis) <= sizes[axis] + sides[axis] + sides[axis + 2] {
                    break;
                }
                window.kernel[axis] -= 1;
            }
        }
        Window { pad: Pad::Sides(sides), ..window }
    }

    fn extent(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Height and width of the result. With `ceil` a last partial window counts, unless it starts in the padding behind.
    fn to(&self, sizes: [usize; 2], ceil: bool) -> [usize; 2] {
        [0, 1].map(|axis| {
            let (size, stride) = (sizes[axis], self.stride[axis]);
            let Pad::Sides(sides) = self.pad else { return size.div_ceil(stride) };
            let room = size + sides[axis] + sides[axis + 2] - self.extent(axis);
            match (ceil, room.div_ceil(stride)) {
                (true, last) if last * stride < size + sides[axis] => last + 1,
                (true, last) => last,
                (false, _) => room / stride + 1,
            }
        })
    }

    /// The arguments behind the channels.
    fn arguments(&self) -> String {
        let mut text = pair(self.kernel);
        if self.stride != [1, 1] {
            text += &format!(", stride = {}", pair(self.stride));
        }
        match self.pad {
            Pad::Word(word) => text += &format!(", pad = {word}"),
            Pad::Sides([0, 0, 0, 0]) => {}
            Pad::Sides([t, l, b, r]) if t == b && l == r => text += &format!(", pad = {}", pair([t, l])),
            Pad::Sides(sides) => text += &format!(", pad = {}", list(&sides)),
        }
        if self.dilation != [1, 1] {
            text += &format!(", dilation = {}", pair(self.dilation));
        }
        text
    }
}

const DILATIONS: [usize; 6] = [1, 1, 1, 1, 2, 3];
const ACTIVATIONS: [&str; 22] = [
    "relu",
    "relu",
    "relu6",
    "leaky_relu(0.2)",
    "elu",
    "gelu",
    "gelu(form = tanh)",
    "silu",
    "sigmoid",
    "hard_sigmoid",
    "hard_swish",
    "tanh",
    "tanh(1.7159, 2.0 / 3.0)",
    "clip(-0.5, max = 0.75)",
    "clip(min = -0.25)",
    "selu",
    "celu(0.5)",
    "softplus",
    "softsign",
    "mish",
    "hard_sigmoid(0.2)",
    "relu",
];

impl Writer<'_> {
    /// A layer or a few, in any place.
    pub fn simple(&mut self) {
        if self.above.len() == 1 {
            return self.of_vectors();
        }
        match self.dice.below(16) {
            0..=2 => self.conv(),
            3 | 4 => self.unit(),
            5 => self.activation(),
            6 | 7 => self.depthwise(),
            8 => self.pool(),
            9 => self.norm(),
            10 => self.preactivated(),
            11 => self.places(),
            12 => self.channels(),
            13 => self.regrouped(),
            14 => self.split(),
            _ => self.reuse(),
        }
    }

    fn of_vectors(&mut self) {
        match self.dice.below(10) {
            0..=2 => self.linear(),
            3 => self.activation(),
            4 => self.norm(),
            5 => self.channels(),
            6 | 7 => self.regrouped(),
            8 => self.split(),
            _ => self.reuse(),
        }
    }

    pub fn activation(&mut self) {
        self.one_of(&ACTIVATIONS, &self.above.clone());
    }

    /// Whether so many multiply-accumulates are left, which are taken then.
    pub fn affords(&mut self, macs: usize) -> bool {
        let affords = macs <= self.macs;
        self.macs -= if affords { macs } else { 0 };
        affords
    }

    pub fn conv(&mut self) {
        let [c, h, w] = self.map();
        let window = Window::draw(&mut self.dice, [h, w], &DILATIONS, false);
        let groups = self.dice.pick(&[1, 1, 1, 1, 2, 3, 4, c]);
        let groups = if c.is_multiple_of(groups) { groups } else { 1 };
        let wanted = self.dice.pick(&[4, 1, 3, 8, 16, 17, 24, 32, 40, 64, c]);
        let out = wanted.next_multiple_of(groups);
        let [h, w] = window.to([h, w], false);
        if ELEMENTS < out * h * w || !self.affords(out * h * w * window.taps() * c / groups) {
            return self.activation();
        }
        let groups = if groups == 1 { String::new() } else { format!(", groups = {groups}") };
        let bias = self.dice.pick(&["", ", bias = false"]);
        let channels = if out == c && self.dice.once_in(2) { "prev.c".to_owned() } else { out.to_string() };
        self.weighted(&format!("conv({channels}, {}{groups}{bias})", window.arguments()), &[out, h, w]);
    }

    /// A convolution of many channels at stride 1, which Winograd takes.
    pub fn tiled_conv(&mut self) {
        let [c, h, w] = self.map();
        let (kernel, out) = (self.dice.pick(&[3, 3, 5]), self.dice.pick(&[c, 8, c, 16]));
        let sides = match self.dice.below(4) {
            3 => [(); 4].map(|()| self.dice.below(3)),
            _ => [kernel / 2; 4],
        };
        let window = Window { kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], pad: Pad::Sides(sides) };
        let fits = kernel <= h + sides[0] + sides[2] && kernel <= w + sides[1] + sides[3];
        if !fits || c < 32 || !c.is_multiple_of(8) || !self.affords(out * h * w * window.taps() * c) {
            return self.conv();
        }
        let [h, w] = window.to([h, w], false);
        self.weighted(&format!("conv({out}, {})", window.arguments()), &[out, h, w]);
    }

    pub fn depthwise(&mut self) {
        let [c, h, w] = self.map();
        let mut window = Window::draw(&mut self.dice, [h, w], &DILATIONS, false);
        if self.dice.once_in(2) {
            // The windows that have loops of their own.
            (window.kernel, window.dilation) = ([self.dice.pick(&[3, 5]); 2], [1; 2]);
            (window.stride, window.pad) = ([window.stride[0].min(2); 2], Pad::Sides([window.kernel[0] / 2; 4]));
        }
        let multiplier = self.dice.pick(&[1, 1, 1, 2]);
        let [h, w] = window.to([h, w], false);
        let to = [c * multiplier, h, w];
        if ELEMENTS < to.iter().product() || !self.affords(to.iter().product::<usize>() * window.taps()) {
            return self.activation();
        }
        let multiplier = if multiplier == 1 { String::new() } else { format!(", multiplier = {multiplier}") };
        let bias = self.dice.pick(&["", ", bias = false"]);
        self.weighted(&format!("depthwise({}{bias}{multiplier})", window.arguments()), &to);
    }

    /// A convolution with batch norm and an activation behind it.
    fn unit(&mut self) {
        match self.dice.once_in(3) {
            true => self.depthwise(),
            false => self.conv(),
        }
        self.maybe_show();
        let layer = self.dice.pick(&["bn", "bn(eps = 0.001)", "bn(affine = false)"]);
        self.weighted(layer, &self.above.clone());
        self.maybe_show();
        if !self.dice.once_in(3) {
            self.activation();
        }
    }

    /// Batch norm and ReLU in front of a 1x1 convolution.
    fn preactivated(&mut self) {
        let [c, h, w] = self.map();
        let out = self.dice.pick(&[8, 4, 16, 20, c]);
        if !self.affords(c * out * h * w) || ELEMENTS < out * h * w {
            return self.activation();
        }
        self.weighted("bn", &[c, h, w]);
        self.maybe_show();
        let act = self.dice.pick(&["relu", "relu6", "", "tanh"]);
        if !act.is_empty() {
            self.layer(act, &[c, h, w]);
            self.maybe_show();
        }
        self.weighted(&format!("conv({out}, 1)"), &[out, h, w]);
    }

    fn pool(&mut self) {
        let [c, h, w] = self.map();
        let layer = self.dice.pick(&["maxpool", "avgpool"]);
        match self.dice.below(5) {
            3 => return self.layer(&format!("{layer}(global)"), &[c, 1, 1]),
            4 => {
                let to = [self.dice.pick(&[1, 2, 3, 5]), self.dice.pick(&[2, 1, 7])];
                return self.layer(&format!("{layer}(to = {})", pair(to)), &[c, to[0], to[1]]);
            }
            _ => {}
        }
        let window = Window::draw(&mut self.dice, [h, w], &DILATIONS, true);
        let ceil = matches!(window.pad, Pad::Sides(_)) && self.dice.once_in(3);
        let [to_h, to_w] = window.to([h, w], ceil);
        // The stride of a pooling is its kernel where it is not given.
        let mut arguments = window.arguments();
        if window.stride == [1, 1] {
            arguments += ", stride = 1";
        }
        if ceil {
            arguments += ", ceil = true";
        }
        if layer == "avgpool" && (matches!(window.pad, Pad::Word("same_upper" | "same_lower")) || self.dice.once_in(2))
        {
            arguments += ", count_pad = false";
        }
        self.layer(&format!("{layer}({arguments})"), &[c, to_h, to_w]);
    }

    fn norm(&mut self) {
        let to = self.above.clone();
        match self.dice.below(8) {
            0 | 1 => self.weighted("bn", &to),
            2 => self.weighted("scale", &to),
            3 => self.layer("affine(0.5, shift = -0.25)", &to),
            4 => self.weighted("layer_norm(eps = 0.01)", &to),
            5 => {
                let layer = self.dice.pick(&["prelu", "prelu(shared = true)"]);
                self.weighted(layer, &to);
            }
            6 => {
                let groups = self.dice.pick(&[1, 2, 3]);
                let groups = if to[0].is_multiple_of(groups) { groups } else { 1 };
                self.weighted(&format!("group_norm({groups}, eps = 0.01)"), &to);
            }
            _ if to.len() == 1 => self.weighted("scale(bias = false)", &to),
            _ => {
                let (size, beta) = (self.dice.pick(&[5, 3, 4, 1, 9]), self.dice.pick(&["0.75", "0.5"]));
                self.layer(&format!("lrn({size}, alpha = 0.1, beta = {beta}, k = 1.5)"), &to);
            }
        }
    }

    /// Height and width.
    fn places(&mut self) {
        let [c, h, w] = self.map();
        let most = |factor: usize| c * h * w * factor <= ELEMENTS;
        match self.dice.below(8) {
            0 if most(4) => self.one_of(
                &["upsample(2)", "upsample(2, mode = bilinear)", "upsample(2, mode = bicubic)"],
                &[c, h * 2, w * 2],
            ),
            1 if most(6) => self.layer("upsample([2, 3], mode = bilinear, corners = aligned)", &[c, h * 2, w * 3]),
            2 if most(4) => {
                let sides = [(); 4].map(|()| self.dice.below(3).min(h - 1).min(w - 1));
                let mode = self.dice.pick(&["", ", mode = reflect", ", mode = replicate", ", value = -1"]);
                let to = [c, h + sides[0] + sides[2], w + sides[1] + sides[3]];
                self.layer(&format!("pad({}{mode})", list(&sides)), &to);
            }
            3 => {
                let to = [h - self.dice.below(h.min(3)), w - self.dice.below(w.min(3))];
                let at = self.dice.pick(&["", ", at = top_left", ", at = center"]);
                self.layer(&format!("crop({}{at})", pair(to)), &[c, to[0], to[1]]);
            }
            4 if most(9) => {
                let (kernel, stride) = (self.dice.pick(&[2, 3, 1]), self.dice.pick(&[2, 1]));
                let [to_h, to_w] = [h, w].map(|size| (size - 1) * stride + kernel);
                let out = self.dice.pick(&[4, 1, 8]);
                if !self.affords(c * h * w * out * kernel * kernel) {
                    return self.activation();
                }
                self.weighted(&format!("conv_transpose({out}, {kernel}, stride = {stride})"), &[out, to_h, to_w]);
            }
            5 if !self.named.is_empty() => {
                let (name, sizes) = self.dice.pick(&self.named.clone());
                match sizes[..] {
                    [_, h, w] if c * h * w <= ELEMENTS => {
                        self.layer(&format!("upsample(size = {})", written(&name)), &[c, h, w]);
                    }
                    _ => self.activation(),
                }
            }
            6 if most(2) && self.dice.once_in(2) => {
                let order = self.dice.pick(&["", ", order = dcr"]);
                match c.is_multiple_of(4) {
                    true => self.layer(&format!("pixel_shuffle(2{order})"), &[c / 4, h * 2, w * 2]),
                    false if h.is_multiple_of(2) && w.is_multiple_of(2) => {
                        self.layer(&format!("pixel_unshuffle(2{order})"), &[c * 4, h / 2, w / 2]);
                    }
                    false => self.activation(),
                }
            }
            6 if most(2) => {
                let (channels, stride) = (c + self.dice.below(c + 1), self.dice.pick(&[1, 2]));
                let to = [channels, h.div_ceil(stride), w.div_ceil(stride)];
                let both = self.dice.pick(&["", ", pad = both"]);
                self.layer(&format!("pad_shortcut({channels}, stride = {stride}{both})"), &to);
            }
            7 if most(2) => {
                let (axis, to) = self.dice.pick(&[("h", [c, 2 * h, w]), ("w", [c, h, 2 * w])]);
                let act = self.dice.pick(&ACTIVATIONS);
                self.layer(&format!("concat(axis = {axis}) {{ {act}; identity }}"), &to);
            }
            _ => self.activation(),
        }
    }

    /// What mixes or takes some of the channels, or of the elements of a vector.
    fn channels(&mut self) {
        let (to, c) = (self.above.clone(), self.above[0]);
        let with = |c: usize| [&[c], &to[1..]].concat();
        match self.dice.below(6) {
            0 => self.layer("softmax", &to),
            1 => self.layer("log_softmax", &to),
            2 if to.len() == 3 => {
                let groups = self.dice.pick(&[1, 2, 3, 4, c]);
                let groups = if c.is_multiple_of(groups) { groups } else { c };
                self.layer(&format!("channel_shuffle({groups})"), &to);
            }
            3 => {
                let start = self.dice.below(c);
                let len = 1 + self.dice.below(c - start);
                self.layer(&format!("slice({start}..{})", start + len), &with(len));
            }
            4 => self.one_of(&["dropout", "identity", "dropout(0.2)"], &to),
            5 if to.len() == 3 => self.one_of(&["softmax(axis = w)", "softmax(axis = h)"], &to),
            _ => self.activation(),
        }
    }

    /// The same elements under other sizes.
    fn regrouped(&mut self) {
        if let [n] = self.above[..] {
            let divisor = self.dice.pick(&[1, 2, 3, 4]);
            let w = if n.is_multiple_of(divisor) { divisor } else { 1 };
            let (wanted, to) =
                self.dice.pick(&[(list(&[n / w, 1, w]), [n / w, 1, w]), (list(&[w, n / w, 1]), [w, n / w, 1])]);
            return self.layer(&format!("reshape({wanted})"), &to);
        }
        let [c, h, w] = self.map();
        match self.dice.below(6) {
            0 => self.layer("flatten", &[c * h * w]),
            1 => self.layer(&format!("reshape([{w}, {c}, -1])"), &[w, c, h]),
            2 => self.layer(&format!("reshape({})", list(&[c, w, h])), &[c, w, h]),
            3 => self.layer(&format!("reshape([{c}, -1, 1])"), &[c, h * w, 1]),
            4 => self.layer(&format!("reshape([{}])", c * h * w), &[c * h * w]),
            _ => {
                self.layer("avgpool(global)", &[c, 1, 1]);
                self.layer("flatten", &[c]);
            }
        }
    }

    fn linear(&mut self) {
        let (n, out) = (self.elements(), self.dice.pick(&[10, 1, 5, 8, 16, 33]));
        if !self.affords(n * out) {
            return self.activation();
        }
        let bias = self.dice.pick(&["", ", bias = false"]);
        self.weighted(&format!("linear({out}{bias})"), &[out]);
        if self.dice.once_in(3) {
            self.weighted("bn", &[out]);
        }
        if self.dice.once_in(2) {
            self.activation();
        }
    }

    fn split(&mut self) {
        let (to, [a, b]) = (self.above.clone(), [(); 2].map(|()| format!("v{}", self.number())));
        let axis = if to.len() == 3 && self.dice.once_in(4) { 1 + self.dice.below(2) } else { 0 };
        let size = to[axis];
        if size < 2 {
            return self.activation();
        }
        let first =
            if size.is_multiple_of(2) && !self.dice.once_in(3) { size / 2 } else { 1 + self.dice.below(size - 1) };
        let parts = if 2 * first == size { "2".to_owned() } else { list(&[first, size - first]) };
        let axis_name = ["", ", axis = h", ", axis = w"][axis];
        self.text += &format!("{a}, {b}: split({parts}{axis_name})\n");
        let with = |size: usize| [&to[..axis], &[size], &to[axis + 1..]].concat();
        self.above = with(first);
        self.named.extend([(a, with(first)), (b, with(size - first))]);
    }

    /// Makes the value above one of these sizes.
    pub fn become_sizes(&mut self, to: &[usize]) {
        if let [c, h, w] = *to {
            if self.above.len() == 1 {
                let n = self.elements();
                self.layer(&format!("reshape({})", list(&[n, 1, 1])), &[n, 1, 1]);
            }
            self.become_plane([h, w]);
            let from = self.above[0];
            if from == c {
                return;
            }
            match self.affords(from * c * h * w) {
                true => self.weighted(&format!("conv({c}, 1)"), to),
                false if from < c => self.layer(&format!("pad_shortcut({c})"), to),
                false => self.layer(&format!("slice(0..{c})"), to),
            }
        } else if self.above != to {
            if let [c, ..] = self.above[..]
                && self.above.len() == 3
            {
                self.layer("avgpool(global)", &[c, 1, 1]);
                self.layer("flatten", &[c]);
            }
            self.weighted(&format!("linear({})", to[0]), to);
        }
    }

    /// Makes the map above one of this height and width.
    pub fn become_plane(&mut self, [h, w]: [usize; 2]) {
        let [c, from_h, from_w] = self.map();
        if [from_h, from_w] != [h, w] {
            let layer = self.dice.pick(&["avgpool(to = ", "maxpool(to = ", "upsample(size = "]);
            self.layer(&format!("{layer}{})", pair([h, w])), &[c, h, w]);
        }
    }
}

//! What is made of several layers: groups, scopes, loops, blocks, and values that are used again.

use super::writer::{Branch, ELEMENTS, Writer, indented, written};

/// A residual block whose ReLU stands behind the sum.
const RESIDUAL: &str = "block residual(channels, kernel = 3, stride = 1, act = relu) {
  add {
    {
      conv1: conv(channels, kernel, stride = stride, pad = kernel // 2, bias = false)
      bn1: bn
      act
      conv2: conv(channels, kernel, pad = kernel // 2)
    }
    downsample: sequential {
      if stride != 1 or in.c != channels {
        conv(channels, 1, stride = stride, bias = false)
        bn
      }
    }
  }
  relu
}
";

/// A layer of DenseNet.
const DENSE: &str = "block dense(growth, factor = 2) {
  let inner = factor * growth
  concat {
    identity
    {
      norm1: bn
      relu
      conv1: conv(inner, 1, bias = false)
      norm2: bn
      relu
      conv2: conv(growth, 3, pad = 1) -> [growth, in.h, in.w]
    }
  }
}
";

/// A factor for each channel.
const GATE: &str = "block gate(reduction = 4) {
  mul {
    identity
    {
      avgpool(global)
      fc1: conv(max(in.c // reduction, 1), 1)
      relu
      fc2: conv(in.c, 1)
      sigmoid
    }
  }
}
";

/// A block of MobileNetV2.
const INVERTED: &str = "block inverted(channels, expand, stride = 1) {
  add {
    {
      if expand != 1 {
        conv1: conv(in.c * expand, 1, bias = false)
        bn1: bn
        relu6
      }
      conv2: depthwise(3, stride = stride, pad = 1, bias = false)
      bn2: bn
      relu6
      conv3: conv(channels, 1, bias = false)
      bn3: bn
    }
    if stride == 1 and in.c == channels { identity }
  }
}
";

impl Writer<'_> {
    /// A layer, or more than that, in the net.
    pub fn anything(&mut self) {
        match self.dice.below(18) {
            0..=4 => self.simple(),
            5 | 6 => self.residual(),
            16 | 17 => self.tiled(),
            7 => self.sum(),
            8 => self.concatenation(),
            9 => self.reuse(),
            10 => self.scope(),
            11 => self.part(),
            12 | 13 => self.template(),
            14 => self.repeated(),
            _ => self.output(),
        }
    }

    /// A few layers, or a group within a group.
    fn chain(&mut self) {
        for _ in 0..1 + self.dice.below(3) {
            if self.depth < 3 && self.dice.once_in(8) {
                match self.dice.below(3) {
                    0 => self.residual(),
                    1 => self.concatenation(),
                    _ => self.scope(),
                }
            } else {
                self.simple();
            }
        }
    }

    /// Two layers beside the identity, or what takes its place, and a ReLU behind the sum.
    fn residual(&mut self) {
        if self.above.len() == 1 {
            return self.sum();
        }
        let from = self.above.clone();
        let strays = self.dice.once_in(3);
        let body = self.branch(|writer| {
            writer.conv();
            if writer.dice.once_in(2) {
                writer.weighted("bn", &writer.above.clone());
            }
            if writer.dice.once_in(2) {
                writer.activation();
            }
            if !strays {
                writer.become_sizes(&from);
            }
            if writer.dice.once_in(2) {
                writer.weighted("bn", &writer.above.clone());
            }
        });
        self.join("add", body);
        self.maybe_show();
        if !self.dice.once_in(4) {
            self.one_of(&["relu", "relu", "relu6", "silu"], &self.above.clone());
        }
    }

    /// A convolution for Winograd, by itself or beside the identity.
    fn tiled(&mut self) {
        let Ok([c, h, w]) = <[usize; 3]>::try_from(&self.above[..]) else { return self.simple() };
        if (c < 32 || !c.is_multiple_of(8)) && 32 * h * w <= ELEMENTS && self.affords(32 * c * h * w) {
            self.weighted("conv(32, 1)", &[32, h, w]);
        }
        let body = self.branch(Self::tiled_conv);
        if body.to == self.above && self.dice.once_in(2) {
            self.join("add", body);
        } else {
            (self.text, self.above) = (format!("{}{}", self.text, body.text), body.to);
            self.named.extend(body.named);
        }
        if self.dice.once_in(2) {
            self.activation();
        }
    }

    /// Any branches that fit.
    fn sum(&mut self) {
        let body = self.branch(Self::chain);
        let head = if self.dice.once_in(6) { self.dice.pick(&["mul", "mul", "maximum"]) } else { "add" };
        self.join(head, body);
    }

    /// A group of `body` and branches of the same sizes.
    fn join(&mut self, head: &str, body: Branch) {
        let to = body.to.clone();
        // A product of products grows beyond all numbers; the other factors are bounded.
        let gates = head == "mul";
        let mut branches = vec![body];
        for _ in 0..1 + usize::from(self.dice.once_in(5)) {
            branches.push(self.branch(|writer| {
                writer.become_sizes(&to);
                if gates {
                    writer.layer("sigmoid", &to);
                }
            }));
        }
        if self.dice.once_in(3) {
            branches.reverse();
        }
        self.group(head, branches, &to);
    }

    fn concatenation(&mut self) {
        let first = self.branch(Self::chain);
        let to = first.to.clone();
        let mut branches = vec![first];
        for _ in 0..1 + self.dice.below(3) {
            branches.push(self.branch(|writer| {
                if !writer.dice.once_in(3) {
                    writer.simple();
                }
                match to[..] {
                    [_, h, w] if writer.above.len() == 3 => writer.become_plane([h, w]),
                    _ => writer.become_sizes(&to),
                }
            }));
        }
        let channels: usize = branches.iter().map(|branch| branch.to[0]).sum();
        let whole = [&[channels], &to[1..]].concat();
        if ELEMENTS < whole.iter().product() {
            return self.activation();
        }
        if self.dice.once_in(3) {
            branches.reverse();
        }
        self.group("concat", branches, &whole);
    }

    /// A value from further above.
    pub fn reuse(&mut self) {
        let above = self.above.clone();
        let others = self.named.clone();
        if others.is_empty() {
            return self.activation();
        }
        let (mut name, mut sizes) = self.dice.pick(&others);
        if self.dice.once_in(3)
            && let Some(same) = others.iter().find(|(_, sizes)| *sizes == above)
        {
            (name, sizes) = same.clone();
        }
        if sizes != above && self.dice.once_in(2) {
            let branch = self.aside(&sizes, |writer| writer.become_sizes(&above));
            let side = format!("v{}", self.number());
            self.text += &format!("{side}: from {} {{\n{}}}\n", written(&name), indented(&branch.text));
            self.inner(Some(&side), branch.named);
            self.named.push((side.clone(), above.clone()));
            (name, sizes) = (side, above.clone());
        }
        let name = written(&name);
        let c = above[0] + sizes[0];
        let whole = [&[c], &above[1..]].concat();
        let fits =
            sizes.len() == above.len() && sizes[1..] == above[1..] && whole.iter().product::<usize>() <= ELEMENTS;
        match self.dice.below(8) {
            0..=2 if sizes == above => self.layer(&format!("add(prev, {name})"), &above),
            3 if sizes == above => self.layer(&format!("sub(prev, {name})"), &above),
            4 if sizes == above => self.layer(&format!("add({name}, prev, {name})"), &above),
            5 if above.iter().product::<usize>() * 2 <= ELEMENTS => {
                self.layer("concat(prev, prev)", &[&[2 * above[0]], &above[1..]].concat());
            }
            6 => {
                let branch = self.aside(&sizes, Self::chain);
                if branch.text.is_empty() {
                    return;
                }
                self.text += &format!("from {name} {{\n{}}}\n", indented(&branch.text));
                self.named.extend(branch.named);
            }
            _ if fits => self.layer(&format!("concat({name}, prev)"), &whole),
            _ => self.layer("add(prev, prev)", &above),
        }
    }

    /// A side chain from a value of these sizes.
    fn aside(&mut self, from: &[usize], write: impl FnOnce(&mut Self)) -> Branch {
        let above = std::mem::replace(&mut self.above, from.to_vec());
        let branch = self.branch(write);
        self.above = above;
        branch
    }

    /// Layers in a scope of their own.
    fn scope(&mut self) {
        let head = self.dice.pick(&["sequential ", ""]);
        let branch = self.branch(|writer| {
            writer.counter = (!head.is_empty()).then_some(0);
            writer.chain();
        });
        let label = format!("scope{}", self.number());
        self.inner(Some(&label), branch.named);
        self.statement(Some(label), &format!("{head}{{\n{}}}", indented(&branch.text)), &branch.to);
    }

    /// A block that is called here only.
    fn part(&mut self) {
        let outside = std::mem::take(&mut self.named);
        let branch = self.branch(Self::chain);
        self.named = outside;
        let (name, label) = (format!("part{}", self.number()), format!("scope{}", self.number()));
        let (front, behind) = if self.dice.once_in(2) { ("act\n", "") } else { ("", "act\n") };
        let body = indented(&format!("{front}{}{behind}", branch.text));
        self.blocks.push(format!("block {name}(act = relu) {{\n{body}}}\n"));
        let argument = self.dice.pick(&["", "(tanh)", "(act = leaky_relu(0.1))", "(relu6)"]);
        self.inner(Some(&label), branch.named);
        self.statement(Some(label), &format!("{name}{argument}"), &branch.to);
    }

    /// A block as nets have it.
    fn template(&mut self) {
        let Ok([c, h, w]) = <[usize; 3]>::try_from(&self.above[..]) else { return self.linear_stack() };
        let (channels, stride) = (self.dice.pick(&[8, 16, c, 5, 32]), self.dice.pick(&[1, 1, 2]));
        let [to_h, to_w] = [h, w].map(|size| (size - 1) / stride + 1);
        let (area, to_area) = (h * w, to_h * to_w);
        let (block, call, to, macs) = match self.dice.below(4) {
            0 => {
                let kernel = self.dice.pick(&[3, 1, 5]);
                let act = self.dice.pick(&["", ", act = relu6", ", act = leaky_relu(0.2)"]);
                let macs = to_area * channels * (kernel * kernel * (c + channels) + c);
                let call = match (kernel, stride) {
                    (3, 1) => format!("residual({channels}{act})"),
                    (_, 1) => format!("residual({channels}, {kernel}{act})"),
                    _ => format!("residual(stride = {stride}, kernel = {kernel}, channels = {channels}{act})"),
                };
                (RESIDUAL, call, [channels, to_h, to_w], macs)
            }
            1 => {
                let growth = self.dice.pick(&[4, 8, 3]);
                let macs = area * (2 * c * growth + 18 * growth * growth);
                (DENSE, format!("dense({growth})"), [c + growth, h, w], macs)
            }
            2 => (GATE, self.dice.pick(&["gate", "gate(2)"]).to_owned(), [c, h, w], c * c),
            _ => {
                let expand = self.dice.pick(&[2, 1, 3]);
                let macs = c * expand * (area * c + to_area * (9 + channels));
                let call = format!("inverted({channels}, {expand}, stride = {stride})");
                (INVERTED, call, [channels, to_h, to_w], macs)
            }
        };
        if ELEMENTS < to.iter().product() || !self.affords(macs) {
            return self.activation();
        }
        if !self.blocks.iter().any(|known| known == block) {
            self.blocks.push(block.to_owned());
        }
        let label = format!("block{}", self.number());
        self.statement(Some(label), &call, &to);
    }

    /// Linear layers with an activation between them.
    fn linear_stack(&mut self) {
        let n = self.elements();
        let number = self.number();
        if !self.affords(n * 24) {
            return self.activation();
        }
        self.text += &format!("for width in [12, 7] {{ fc{number}_{{width}}: linear(width); tanh }}\n");
        self.above = vec![7];
    }

    /// Loops and tests.
    fn repeated(&mut self) {
        let Ok([c, h, w]) = <[usize; 3]>::try_from(&self.above[..]) else { return self.linear_stack() };
        let (number, times) = (self.number(), 1 + self.dice.below(3));
        let to = [c, h, w];
        match self.dice.below(4) {
            0 if self.affords(times * 9 * c * c * h * w) => {
                let act = self.dice.pick(&["relu", "relu6", "bn", "elu"]);
                let body = format!("v{number}_{{i}}: conv(prev.c, 3, pad = 1)\n{act}\n");
                self.text += &format!("repeat {times} as i {{\n{}}}\n", indented(&body));
                self.named.push((format!("v{number}_0"), to.to_vec()));
            }
            1 if self.affords(10 * c * h * w) => {
                self.text += &format!("for k in [1, 3] {{ v{number}_{{k}}: depthwise(k, pad = k // 2); relu }}\n");
                self.named.push((format!("v{number}_3"), to.to_vec()));
            }
            2 if self.affords(c * 8 * h * w) => {
                let body = format!("let wide = make_divisible(prev.h, 8)\nv{number}: conv(min(wide, 8), 1)\n");
                self.text += &format!("if prev.c == {c} {{\n{}}} else {{ flatten }}\n", indented(&body));
                self.above = vec![8, h, w];
                self.named.push((format!("v{number}"), vec![8, h, w]));
            }
            _ => {
                let act = self.dice.pick(&["relu", "tanh", "lrn(3)"]);
                self.text += &format!("repeat {times} {{ if prev.w > {} {{ {act} }} else {{ sigmoid }} }}\n", w / 2);
            }
        }
    }
}

//! Writes nets that are valid, with the sizes that they must turn out to have.
//!
//! Every decision takes a number from lists that proptest draws. A list that has run out gives zeros, and zeros give
//! the simplest choice: what fails is shrunk by cutting the lists.

use std::fmt;

/// Sizes of one sample: `[c, h, w]` or `[n]`.
pub type Sizes = Vec<usize>;

/// A net as text.
#[derive(Clone)]
pub struct Net {
    pub text: String,
    /// The names and sizes of its outputs outside training, in order.
    pub outputs: Vec<(String, Sizes)>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where decisions come from.
pub struct Dice<'a>(&'a [u16]);

impl Dice<'_> {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % n
    }

    /// Seldom true.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Multiply-accumulates that a net has for one sample, more or less: the plain loops are slow.
const MACS: usize = 400_000;
/// The largest map.
pub const ELEMENTS: usize = 4000;

/// A net that is being written.
pub struct Writer<'a> {
    pub dice: Dice<'a>,
    /// Definitions of blocks.
    pub blocks: Vec<String>,
    pub text: String,
    /// The value above.
    pub above: Sizes,
    /// Values that can be named here, by their paths.
    pub named: Vec<(String, Sizes)>,
    pub outputs: Vec<(String, Sizes)>,
    /// Multiply-accumulates that are left.
    pub macs: usize,
    /// Groups, braces and blocks around this place.
    pub depth: usize,
    /// In a `sequential`, the number of the next child without a label.
    pub counter: Option<usize>,
    numbers: usize,
}

/// A net: decisions for its input, and for each of its layers or groups.
pub fn write(input: &[u16], moves: &[Vec<u16>]) -> Net {
    let mut writer = Writer {
        dice: Dice(input),
        blocks: Vec::new(),
        text: String::new(),
        above: Vec::new(),
        named: Vec::new(),
        outputs: Vec::new(),
        macs: MACS,
        depth: 0,
        counter: None,
        numbers: 0,
    };
    writer.inputs();
    for decisions in moves {
        writer.dice = Dice(decisions);
        writer.anything();
    }
    writer.outputs.push(("y".to_owned(), writer.above.clone()));
    let Writer { blocks, text, outputs, .. } = writer;
    Net { text: format!("{}net random {{\n{}}}\n", blocks.concat(), indented(&format!("{text}output y\n"))), outputs }
}

/// `[1, 2, 3]`.
pub fn list(sizes: &[usize]) -> String {
    format!("{sizes:?}")
}

/// `2` or `[2, 3]`.
pub fn pair([h, w]: [usize; 2]) -> String {
    if h == w { h.to_string() } else { list(&[h, w]) }
}

/// A path as it is written where a value is meant.
pub fn written(path: &str) -> String {
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if plain && !path.starts_with(|c: char| c.is_ascii_digit()) { path.to_owned() } else { format!("\"{path}\"") }
}

/// Lines further to the right.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A branch as it is written: without a scope of its own.
#[derive(Clone)]
pub struct Branch {
    pub text: String,
    pub to: Sizes,
    /// The values that have got names in it.
    pub named: Vec<(String, Sizes)>,
}

impl Writer<'_> {
    fn inputs(&mut self) {
        let channels = [1, 3, 4, 8, 16, 32, 40, 33, 2, 24, 64];
        let sizes = [8, 1, 2, 5, 7, 6, 9, 12, 4, 3, 11];
        let one = |dice: &mut Dice| match dice.below(12) {
            11 => vec![dice.pick(&[8, 1, 5, 17, 64])],
            // What Winograd takes is met by luck only too seldom.
            8..11 => vec![dice.pick(&[32, 40]), dice.pick(&[6, 4, 8, 7]), dice.pick(&[6, 4, 8, 9])],
            _ => vec![dice.pick(&channels), dice.pick(&sizes), dice.pick(&sizes)],
        };
        if self.dice.once_in(5) {
            let sizes = one(&mut self.dice);
            self.text += &format!("input side: {}\n", list(&sizes));
            self.named.push(("side".to_owned(), sizes));
        }
        self.above = match self.named.first() {
            Some((_, sizes)) if self.dice.once_in(2) => sizes.clone(),
            _ => one(&mut self.dice),
        };
        self.text += &format!("input x: {}\n", list(&self.above));
        self.named.push(("x".to_owned(), self.above.clone()));
    }

    /// A number that no other name has.
    pub fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    pub fn elements(&self) -> usize {
        self.above.iter().product()
    }

    /// The sizes of the map above.
    pub fn map(&self) -> [usize; 3] {
        self.above[..].try_into().unwrap()
    }

    /// A layer, a call or a group that gives `to`, and mostly the claim that it does.
    pub fn statement(&mut self, label: Option<String>, layer: &str, to: &[usize]) {
        let front = label.as_ref().map_or(String::new(), |label| format!("{}: ", written(label)));
        let claim = if self.dice.once_in(5) { String::new() } else { format!("  -> {}", list(to)) };
        self.text += &format!("{front}{layer}{claim}\n");
        self.above = to.to_vec();
        let scope = self.scope_of(label);
        self.named.extend(scope.map(|label| (label, to.to_vec())));
    }

    /// The label of a statement: the one that is written, or its number in a `sequential`, which it takes.
    fn scope_of(&mut self, label: Option<String>) -> Option<String> {
        label.or_else(|| {
            let counter = self.counter.as_mut()?;
            *counter += 1;
            Some((*counter - 1).to_string())
        })
    }

    /// A layer without weights.
    pub fn layer(&mut self, layer: &str, to: &[usize]) {
        let label = self.dice.once_in(3).then(|| self.label());
        self.statement(label, layer, to);
    }

    /// One of some layers without weights that all give `to`.
    pub fn one_of(&mut self, layers: &[&str], to: &[usize]) {
        let layer = self.dice.pick(layers);
        self.layer(layer, to);
    }

    /// A layer with weights, which has a label more often.
    pub fn weighted(&mut self, layer: &str, to: &[usize]) {
        let label = (!self.dice.once_in(8)).then(|| self.label());
        self.statement(label, layer, to);
    }

    fn label(&mut self) -> String {
        let number = self.number();
        match self.dice.below(8) {
            7 => format!("odd label {number}"),
            6 => format!("part{number}.0"),
            _ => format!("v{number}"),
        }
    }

    /// What `write` writes from the value above, taken out of the text again.
    pub fn branch(&mut self, write: impl FnOnce(&mut Self)) -> Branch {
        let (text, above, known) = (std::mem::take(&mut self.text), self.above.clone(), self.named.len());
        let counter = self.counter.take();
        self.depth += 1;
        write(self);
        self.depth -= 1;
        self.counter = counter;
        let text = std::mem::replace(&mut self.text, text);
        Branch { text, to: std::mem::replace(&mut self.above, above), named: self.named.split_off(known) }
    }

    /// A group of branches that gives `to`. Below it their names are seen.
    pub fn group(&mut self, head: &str, branches: Vec<Branch>, to: &[usize]) {
        let label = self.dice.once_in(3).then(|| self.label());
        let (mut body, mut named) = (String::new(), Vec::new());
        for branch in branches {
            body += &match branch.text.lines().count() {
                0 => self.dice.pick(&["identity\n", "{ }\n"]).to_owned(),
                1 if !self.dice.once_in(3) => branch.text,
                _ => format!("{{\n{}}}\n", indented(&branch.text)),
            };
            named.extend(branch.named);
        }
        let scope = label.clone().or_else(|| self.counter.map(|counter| counter.to_string()));
        self.inner(scope.as_deref(), named);
        self.statement(label, &format!("{head} {{\n{}}}", indented(&body)), to);
    }

    /// Values with names in a scope, as they are seen below it.
    pub fn inner(&mut self, label: Option<&str>, named: Vec<(String, Sizes)>) {
        let path = |name: String| label.map_or_else(|| name.clone(), |label| format!("{label}.{name}"));
        self.named.extend(named.into_iter().map(|(name, sizes)| (path(name), sizes)));
    }

    /// Names an output: the value above or another one, of the net or of its training.
    pub fn output(&mut self) {
        let (label, sizes) = self.dice.pick(&self.named.clone());
        let (value, to) = match self.dice.below(2) {
            0 => (String::new(), self.above.clone()),
            _ => (format!(" = {}", written(&label)), sizes),
        };
        let name = format!("z{}", self.number());
        if self.dice.once_in(5) {
            self.text += &format!("output {name}{value}: train weight 0.3\n");
        } else {
            self.text += &format!("output {name}{value}\n");
            self.outputs.push((name, to));
        }
    }

    /// Seldom, and where outputs may stand, makes the value above one: what is seen from outside cannot be fused away.
    pub fn maybe_show(&mut self) {
        if self.depth == 0 && self.dice.once_in(6) {
            let name = format!("z{}", self.number());
            self.text += &format!("output {name}\n");
            self.outputs.push((name, self.above.clone()));
        }
    }
}

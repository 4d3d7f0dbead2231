//! Reads a file and everything it imports into a [`Program`]; the only stage that asks the [`Loader`].

use std::collections::HashMap;

use super::error::FileError;
use crate::diag::{FileId, Sink, SourceMap, Span};
use crate::op;
use crate::syntax::ast::{Definition, File, Import, Item, Let};
use crate::syntax::{add_source, parse};

/// Where source texts come from. The compiler itself touches no file.
pub trait Loader {
    /// Reads the file that `path` names, as written in an import of the file named `from`. Gives the name under which
    /// users know it, the same for every way to write the same file, and its bytes.
    ///
    /// # Errors
    /// Why it cannot be read, in a clause: "no such file".
    fn load(&self, from: &str, path: &str) -> Result<(String, Vec<u8>), String>;
}

/// A loader for texts that import nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoImports;

impl Loader for NoImports {
    fn load(&self, _from: &str, _path: &str) -> Result<(String, Vec<u8>), String> {
        Err("a text that is not a file imports nothing".to_owned())
    }
}

/// A parsed file with the blocks it sees.
#[derive(Debug)]
pub struct Unit {
    /// Its identity.
    pub file: FileId,
    /// Its tree.
    pub tree: File,
    /// The blocks that its own and its imports' names stand for.
    pub blocks: HashMap<String, BlockId>,
}

/// A block by its file and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// Index of the unit.
    pub unit: usize,
    /// Index of the item.
    pub item: usize,
}

/// A file with everything it imports; unit 0 is the file itself.
#[derive(Debug, Default)]
pub struct Program {
    /// The files, importers after what they import except for unit 0.
    pub units: Vec<Unit>,
}

impl Program {
    /// The block of an identity.
    pub fn block(&self, id: BlockId) -> &Definition {
        match &self.units[id.unit].tree.items[id.item] {
            Item::Block(block) => block,
            Item::Net(_) | Item::Import(_) | Item::Let(_) => unreachable!("identities are made for blocks only"),
        }
    }

    /// The nets of the file itself.
    pub fn nets(&self) -> impl Iterator<Item = &Definition> {
        self.units.first().into_iter().flat_map(|unit| &unit.tree.items).filter_map(|item| match item {
            Item::Net(net) => Some(net),
            Item::Block(_) | Item::Import(_) | Item::Let(_) => None,
        })
    }

    /// The blocks of all units, and the nets.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.units.iter().flat_map(|unit| &unit.tree.items).filter_map(|item| match item {
            Item::Block(definition) | Item::Net(definition) => Some(definition),
            Item::Import(_) | Item::Let(_) => None,
        })
    }

    /// The `let`s at the top of a unit.
    pub fn lets(&self, unit: usize) -> impl Iterator<Item = &Let> {
        self.units[unit].tree.items.iter().filter_map(|item| match item {
            Item::Let(binding) => Some(binding),
            Item::Block(_) | Item::Import(_) | Item::Net(_) => None,
        })
    }
}

/// Parses the file and its imports. Mistakes go to the sink; what could be read is in the program all the same.
pub fn load(sources: &mut SourceMap, file: FileId, loader: &dyn Loader, sink: &mut Sink) -> Program {
    let tree = parse(sources, file, sink).file;
    let mut loading =
        Loading { sources, loader, sink, program: Program::default(), by_name: HashMap::new(), open: vec![] };
    let name = loading.sources.file(file).name.clone();
    loading.program.units.push(Unit { file, tree: File::default(), blocks: HashMap::new() });
    loading.open.push((name.clone(), None));
    loading.by_name.insert(name, 0);
    loading.resolve(0, tree);
    loading.program
}

struct Loading<'a> {
    sources: &'a mut SourceMap,
    loader: &'a dyn Loader,
    sink: &'a mut Sink,
    program: Program,
    by_name: HashMap<String, usize>,
    /// The files being read, outermost first, with the import that led to each.
    open: Vec<(String, Option<Span>)>,
}

impl Loading<'_> {
    fn resolve(&mut self, unit: usize, tree: File) {
        let mut blocks: HashMap<String, (BlockId, Span)> = HashMap::new();
        for item in &tree.items {
            let Item::Import(import) = item else { continue };
            let Some(imported) = self.import(unit, import) else { continue };
            for (item, definition) in self.program.units[imported].tree.items.iter().enumerate() {
                if let Item::Block(block) = definition {
                    let id = BlockId { unit: imported, item };
                    if let Some((other, first)) = blocks.insert(block.name.text.clone(), (id, import.path.span))
                        && other != id
                    {
                        let name = block.name.text.clone();
                        self.sink.push(FileError::Twice { what: "block", name, first, span: import.path.span }.into());
                    }
                }
            }
        }
        let mut net: Option<Span> = None;
        for (item, definition) in tree.items.iter().enumerate() {
            if let Item::Block(definition) | Item::Net(definition) = definition {
                self.parameters(definition);
            }
            match definition {
                Item::Block(block) => self.define(unit, item, block, &mut blocks),
                Item::Net(definition) if unit != 0 => {
                    let net = definition.name.text.clone();
                    self.sink.push(FileError::NetInImport { net, span: definition.name.span }.into());
                }
                Item::Net(definition) => {
                    if let Some(first) = net {
                        self.sink.push(FileError::TwoNets { first, span: definition.name.span }.into());
                    }
                    net.get_or_insert(definition.name.span);
                }
                Item::Import(_) | Item::Let(_) => {}
            }
        }
        let unit = &mut self.program.units[unit];
        unit.tree = tree;
        unit.blocks = blocks.into_iter().map(|(name, (id, _))| (name, id)).collect();
    }

    fn define(&mut self, unit: usize, item: usize, block: &Definition, blocks: &mut HashMap<String, (BlockId, Span)>) {
        let (name, span) = (block.name.text.clone(), block.name.span);
        if is_layer_name(&name) {
            self.sink.push(FileError::BlockNamedAsLayer { name, span }.into());
            return;
        }
        if let Some((_, first)) = blocks.insert(name.clone(), (BlockId { unit, item }, span)) {
            self.sink.push(FileError::Twice { what: "block", name, first, span }.into());
        }
    }

    /// Reports parameters with the name of one in front of them.
    fn parameters(&mut self, definition: &Definition) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for param in &definition.params {
            let (name, span) = (param.name.text.clone(), param.name.span);
            if let Some(&first) = seen.get(param.name.text.as_str()) {
                self.sink.push(FileError::Twice { what: "parameter", name, first, span }.into());
            } else {
                seen.insert(&param.name.text, span);
            }
        }
    }

    fn import(&mut self, unit: usize, import: &Import) -> Option<usize> {
        let span = import.path.span;
        let path = import.path.text.clone();
        if path.starts_with('/') || path.contains('\\') || path.contains(':') {
            let reason = "an import is a path relative to this file, with `/` between its parts".to_owned();
            self.sink.push(FileError::Import { path, reason, span }.into());
            return None;
        }
        let from = self.sources.file(self.program.units[unit].file).name.clone();
        let (name, bytes) = match self.loader.load(&from, &path) {
            Ok(loaded) => loaded,
            Err(reason) => {
                self.sink.push(FileError::Import { path, reason, span }.into());
                return None;
            }
        };
        if let Some(at) = self.open.iter().position(|(open, _)| *open == name) {
            let via = self.open[at + 1..].iter().filter_map(|(_, span)| *span).collect();
            self.sink.push(FileError::ImportCycle { path, via, span }.into());
            return None;
        }
        if let Some(&known) = self.by_name.get(&name) {
            return Some(known);
        }
        if self.open.len() > 256 {
            let reason = "imports are nested deeper than 256".to_owned();
            self.sink.push(FileError::Import { path, reason, span }.into());
            return None;
        }
        let file = add_source(self.sources, &name, bytes, self.sink)?;
        let tree = parse(self.sources, file, self.sink).file;
        let imported = self.program.units.len();
        self.program.units.push(Unit { file, tree: File::default(), blocks: HashMap::new() });
        self.by_name.insert(name.clone(), imported);
        self.open.push((name, Some(span)));
        self.resolve(imported, tree);
        self.open.pop();
        Some(imported)
    }
}

/// Whether a name is a layer's, or one of the words that stand for one.
pub fn is_layer_name(name: &str) -> bool {
    name == "sequential" || op::signatures().any(|signature| signature.layer == name)
}

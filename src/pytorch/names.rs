//! Names that Python and `nn.Module` take.

use std::collections::{HashMap, HashSet};

/// Words of Python, and what generated code calls by name.
const TAKEN: &[&str] = &[
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
    "match",
    "case",
    "self",
    "super",
    "torch",
    "nn",
    "Tensor",
    "List",
    "Tuple",
    "getattr",
    "max",
    "float",
    "int",
    "bool",
    "range",
    "print",
    "load",
    "annotations",
];

/// What an `nn.Module` has itself.
const OF_MODULE: &[&str] = &[
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "heads",
    "hpu",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_backward_hook",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_module",
    "register_parameter",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "xpu",
    "zero_grad",
    "T_destination",
    "append",
    "extend",
    "insert",
    "pop",
    "bias",
    "weight",
];

/// Modules of Python and of the packages that programs import: a file of such a name beside a program hides them.
const IMPORTED: &str = "
    abc aifc annotationlib argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii bisect
    builtins bz2 calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys compileall compression
    concurrent configparser contextlib contextvars copy copyreg cProfile crypt csv ctypes curses dataclasses
    datetime dbm decimal difflib dis distutils doctest email encodings ensurepip enum errno faulthandler fcntl
    filecmp fileinput filelock fnmatch fractions fsspec ftplib functools functorch gc genericpath getopt getpass
    gettext glob graphlib grp gzip hashlib heapq hmac html http imaplib imghdr imp importlib inspect io ipaddress
    itertools jinja2 json keyword linecache locale logging lzma mailbox mailcap markupsafe marshal math mimetypes
    mmap modulefinder mpmath multiprocessing netrc networkx nis nntplib ntpath nturl2path numbers numpy opcode
    operator optparse os ossaudiodev packaging pathlib pdb pickle pickletools PIL pipes pkgutil platform plistlib
    poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri
    random re readline reprlib resource rlcompleter runpy safetensors sched secrets select selectors setuptools
    shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile
    sre_constants sre_parse ssl stat statistics string stringprep struct subprocess sunau sympy symtable sys
    sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap threading time timeit tkinter token
    tokenize tomllib torch torchgen trace traceback tracemalloc triton tty turtle types typing typing_extensions
    unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser wsgiref xdrlib xml xmlrpc zipapp
    zipfile zipimport zlib zoneinfo
";

/// Whether a file of this name would stand for what a program imports.
pub fn hides_import(stem: &str) -> bool {
    IMPORTED.split_whitespace().any(|name| name == stem)
}

fn is_word(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a part of a path is a number as `nn.Sequential` has them.
pub fn is_number(part: &str) -> bool {
    part.parse::<u32>().is_ok_and(|number| number.to_string() == part)
}

/// Whether a module takes this as the name of another in it.
pub fn is_attribute(part: &str) -> bool {
    is_word(part) && !part.starts_with('_') && !TAKEN.contains(&part) && !OF_MODULE.contains(&part) && part != "F"
}

/// Names that are each given once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
    /// The next number behind a name that is taken.
    next: HashMap<String, u64>,
}

impl Names {
    /// Says that a name is in use.
    pub fn take(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Whether a name is in use.
    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// The name, or one like it that is free.
    pub fn fresh(&mut self, name: &str) -> String {
        self.numbered(name, "_")
    }

    /// The name of a class, or one like it that is free.
    pub fn fresh_class(&mut self, name: &str) -> String {
        self.numbered(name, if name.ends_with(|c: char| c.is_ascii_digit()) { "_" } else { "" })
    }

    fn numbered(&mut self, name: &str, separator: &str) -> String {
        let base = if TAKEN.contains(&name) || name == "F" { format!("{name}_") } else { name.to_owned() };
        let mut found = base.clone();
        while !self.taken.insert(found.clone()) {
            let next = self.next.entry(base.clone()).or_insert(1);
            *next += 1;
            found = format!("{base}{separator}{next}");
        }
        found
    }
}

/// A word of what a text has of letters and digits.
pub fn word(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
    let plain = plain.trim_matches('_');
    if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { plain.to_owned() } else { format!("n{plain}") }
}

/// A word in the form of a class name.
pub fn camel(text: &str) -> String {
    let parts = word(text);
    let upper = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
    };
    parts.split('_').map(upper).collect()
}

/// What modules define and import beside the classes of blocks and the helpers of layers.
pub const DEFINED: &[&str] =
    &["F", "HEADS", "List", "Tensor", "Tuple", "WEIGHTS", "_pair", "fill", "load", "os", "rename"];

/// The classes among the helpers of layers.
const CLASSES: &[&str] = &["Affine", "ChannelNorm", "ChannelScale", "Distances", "TableConv2d"];

/// The name of the class of a net.
pub fn net_class(name: &str) -> String {
    let class = camel(name);
    let is_taken = [DEFINED, CLASSES, TAKEN].iter().any(|names| names.contains(&class.as_str()));
    if is_taken { format!("{class}Net") } else { class }
}

/// A string of Python.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// A text in a docstring or a comment: what could end it is left out.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '"' | '\\') { '?' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_does_not_take_gets_another_name() {
        for (part, taken) in [("conv1", true), ("class", false), ("training", false), ("0", false), ("a b", false)] {
            assert_eq!(is_attribute(part), taken, "{part}");
        }
        let mut names = Names::default();
        assert_eq!([names.fresh("lambda"), names.fresh("a"), names.fresh("a")], ["lambda_", "a", "a_2"]);
        assert_eq!((word("3 ü\"x"), camel("res_net50")), ("n3___x".to_owned(), "ResNet50".to_owned()));
        assert_eq!(quoted("a\"b\\\nü"), "\"a\\\"b\\\\\\u000a\\u00fc\"");
        assert!(is_number("10") && !is_number("01") && !is_number("-1"));
    }
}
